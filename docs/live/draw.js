// Drawing: the mask over the image, CRA's strips, SE's bars. Plain 2D canvases; WebGL isn't used.

const LESION = [86, 180, 233]; // the package's color for a predicted mask, from Okabe and Ito's palette

// Pixels where the probability is at least the threshold, and sums for the figures.
export function maskOf(probability, threshold) {
  const mask = new Uint8Array(probability.length);
  const limit = Math.fround(threshold);
  let area = 0, all = 0, inside = 0;
  for (let i = 0; i < mask.length; i++) {
    const p = probability[i];
    all += p;
    if (p >= limit) {
      mask[i] = 1;
      area++;
      inside += p;
    }
  }
  // Soft Dice confidence: about the Dice score to expect.
  return { mask, fraction: area / mask.length, confidence: area ? (2 * inside) / (all + area) : 0 };
}

// The mask as a transparent layer: a tint, and a line along the border.
export function layer(mask, width, height, { opacity, contour }) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer); // little-endian: ABGR
  const color = LESION[0] | (LESION[1] << 8) | (LESION[2] << 16);
  const tint = (color | (Math.round(opacity * 255) << 24)) >>> 0;
  const line = (color | 0xff000000) >>> 0;
  const reach = Math.max(1, Math.round(Math.max(width, height) / 300));
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!mask[i]) continue;
      const edge =
        (x >= reach && !mask[i - reach]) ||
        (x + reach < width && !mask[i + reach]) ||
        (y >= reach && !mask[i - reach * width]) ||
        (y + reach < height && !mask[i + reach * width]);
      pixels[i] = contour && edge ? line : tint;
    }
  }
  return image;
}

// A mask as a black and white PNG file.
export async function maskFile(mask, width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const image = new ImageData(width, height);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(mask, (on) => (on ? 0xffffffff : 0xff000000)));
  canvas.getContext("2d").putImageData(image, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// The mean over channels of a gate (1, L, C): L numbers.
export function meanOverChannels({ data, dims: [, length, channels] }) {
  return Array.from({ length }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += data[i * channels + c];
    return sum / channels;
  });
}

// Anchors of Matplotlib's cividis, which is perceptually uniform for color-blind readers too.
const CIVIDIS = [[0, 34, 78], [53, 69, 108], [102, 105, 112], [148, 142, 119], [200, 184, 102], [254, 232, 56]];

export function color(t) {
  const at = Math.min(Math.max(t, 0), 1) * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  const mixed = CIVIDIS[low].map((c, i) => Math.round(c + (at - low) * (CIVIDIS[low + 1][i] - c)));
  return `rgb(${mixed})`;
}

// A strip of colored cells, down or across.
export function strip(canvas, values, [low, high], down) {
  canvas.width = down ? 1 : values.length;
  canvas.height = down ? values.length : 1;
  const context = canvas.getContext("2d");
  values.forEach((value, i) => {
    context.fillStyle = color(high > low ? (value - low) / (high - low) : 0.5);
    context.fillRect(down ? 0 : i, down ? i : 0, 1, 1);
  });
}

// Bars from 0 to 1, one for each value, as wide as the canvas is on the screen.
export function bars(canvas, values) {
  const ratio = devicePixelRatio || 1;
  const style = getComputedStyle(canvas);
  const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio)));
  const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio)));
  const context = canvas.getContext("2d");
  context.fillStyle = style.getPropertyValue("--line");
  for (const level of [0, 0.5, 1]) context.fillRect(0, Math.min(height - 1, (1 - level) * height), width, 1);
  context.fillStyle = style.getPropertyValue("--accent");
  const step = width / values.length;
  const gap = step > 4 ? 1 : 0;
  values.forEach((value, i) => {
    const left = Math.round(i * step);
    const right = Math.max(left + 1, Math.round((i + 1) * step) - gap);
    context.fillRect(left, (1 - value) * height, right - left, value * height);
  });
}
