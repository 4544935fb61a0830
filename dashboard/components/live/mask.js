// From a probability map to counts and to a colored layer: everything that follows the threshold while it moves.

// Temperature scaling as the Python package does it: the logit divided by the temperature; no value crosses 1/2.
export function calibrate(map, temperature) {
  if (temperature === 1) return map;
  const below = 0.5 - 2 ** -25; // the largest float32 below 1/2
  return map.map((p) => {
    const scaled = 1 / (1 + ((1 - p) / p) ** (1 / temperature));
    return p < 0.5 ? Math.min(scaled, below) : Math.max(scaled, 0.5);
  });
}

// Areas, scores and confidence at a threshold. `truth`: Uint8Array of 0 and 1, or null where it isn't known.
export function measure(probability, truth, threshold) {
  const limit = Math.fround(threshold);
  let area = 0, all = 0, inside = 0, lesion = 0, both = 0;
  for (let i = 0; i < probability.length; i++) {
    const p = probability[i];
    all += p;
    const on = p >= limit;
    if (on) {
      area++;
      inside += p;
    }
    if (truth && truth[i]) {
      lesion++;
      if (on) both++;
    }
  }
  const found = {
    fraction: area / probability.length,
    confidence: area ? (2 * inside) / (all + area) : 0, // soft Dice: about the Dice score to expect
  };
  if (!truth) return found;
  const union = area + lesion - both;
  return {
    ...found,
    right: both,
    wrong: area - both,
    missed: lesion - both,
    iou: union ? both / union : 1,
    dice: area + lesion ? (2 * both) / (area + lesion) : 1,
  };
}

function packed([r, g, b], opacity) {
  return ((Math.round(255 * opacity) << 24) | (b << 16) | (g << 8) | r) >>> 0; // little-endian
}

// Anchors of Matplotlib's cividis, which is perceptually uniform for color-blind readers too.
const CIVIDIS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

export function heat(t) {
  const at = Math.min(Math.max(t, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((c, i) => Math.round(c + (at - low) * (CIVIDIS[low + 1][i] - c)));
}

// A map as colors, for values from 0 to `top`.
export function paintHeat(pixels, map, top, opacity) {
  const colors = Uint32Array.from({ length: 256 }, (_, i) => packed(heat(i / 255), opacity));
  for (let i = 0; i < map.length; i++) pixels[i] = colors[Math.min(255, Math.round((255 * map[i]) / top))];
}

// The mask over an image of `width` columns: "Fill" and "Contour", or "Mistakes" with the truth.
export function paintMask(pixels, probability, truth, threshold, width, { style, opacity, colors }) {
  const limit = Math.fround(threshold);
  const height = probability.length / width;
  const reach = Math.max(1, Math.round(Math.max(width, height) / 300));
  const mistakes = style === "Mistakes" && truth;
  const tint = packed(colors.right, (mistakes ? 0.5 : 1) * (style === "Contour" ? 0 : opacity));
  const line = packed(mistakes ? colors.truth : colors.right, 1);
  const wrong = packed(colors.wrong, opacity), missed = packed(colors.missed, opacity);
  const outlined = mistakes ? truth : probability;
  const border = mistakes ? 1 : limit;
  const down = reach * width;
  for (let y = 0, i = 0; y < height; y++) {
    const inside = y >= reach && y + reach < height;
    for (let x = 0; x < width; x++, i++) {
      const on = probability[i] >= limit;
      if (
        outlined[i] >= border &&
        inside && x >= reach && x + reach < width &&
        (outlined[i - reach] < border || outlined[i + reach] < border ||
          outlined[i - down] < border || outlined[i + down] < border)
      ) pixels[i] = line;
      else if (!mistakes) pixels[i] = on ? tint : 0;
      else if (truth[i]) pixels[i] = on ? tint : missed;
      else pixels[i] = on ? wrong : 0;
    }
  }
}
