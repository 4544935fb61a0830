// Resizing exactly as the Python package does it, so that the network gets the same pixels in a browser.
//
// Pillow's algorithm (its file Resample.c): a filter that widens as the image shrinks, first along the rows, then along
// the columns. On 8-bit pixels its weights are whole numbers, so that the result has the same bits everywhere.

const PRECISION = 22; // bits after the point of an 8-bit weight, as in Pillow

export function hamming(x) {
  x = Math.abs(x);
  if (x === 0) return 1;
  if (x >= 1) return 0;
  x *= Math.PI;
  return (Math.sin(x) / x) * (0.54 + 0.46 * Math.cos(x));
}

export function triangle(x) {
  return Math.max(0, 1 - Math.abs(x));
}

// For each output position: which inputs it takes and their weights, which add up to 1. Both filters have a radius of 1.
export function weights(size, outSize, filter) {
  const scale = size / outSize;
  const reach = Math.max(scale, 1);
  const found = [];
  for (let i = 0; i < outSize; i++) {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - reach + 0.5));
    const end = Math.min(size, Math.trunc(center + reach + 0.5));
    const taps = new Float64Array(end - first);
    let sum = 0;
    for (let j = 0; j < taps.length; j++) sum += taps[j] = filter((j + first - center + 0.5) / reach);
    for (let j = 0; j < taps.length; j++) taps[j] /= sum;
    found.push({ first, taps });
  }
  return found;
}

function wholeNumbers(rows) {
  return rows.map(({ first, taps }) => ({
    first,
    taps: Int32Array.from(taps, (w) => Math.trunc((w < 0 ? -0.5 : 0.5) + w * 2 ** PRECISION)),
  }));
}

function clip(sum) {
  return Math.min(255, Math.max(0, sum >> PRECISION));
}

// An RGB image that arrives in strips of rows, shrunk to `height` x `width`. Only a strip is in memory at a time.
export class StripResizer {
  constructor(fromHeight, fromWidth, height, width) {
    Object.assign(this, { fromHeight, fromWidth, height, width, row: 0 });
    this.columns = wholeNumbers(weights(fromWidth, width, hamming));
    this.narrow = new Uint8Array(fromHeight * width * 3);
  }

  // rgba: whole rows, below those that came before.
  add(rgba) {
    const stride = this.fromWidth * 4;
    for (let start = 0; start < rgba.length; start += stride, this.row++) {
      let out = this.row * this.width * 3;
      if (this.width === this.fromWidth) {
        for (let i = start; i < start + stride; i += 4) {
          for (let c = 0; c < 3; c++) this.narrow[out++] = rgba[i + c];
        }
        continue;
      }
      for (const { first, taps } of this.columns) {
        let r = 1 << (PRECISION - 1), g = r, b = r;
        for (let j = 0, i = start + first * 4; j < taps.length; j++, i += 4) {
          r += rgba[i] * taps[j];
          g += rgba[i + 1] * taps[j];
          b += rgba[i + 2] * taps[j];
        }
        this.narrow[out++] = clip(r);
        this.narrow[out++] = clip(g);
        this.narrow[out++] = clip(b);
      }
    }
  }

  // Uint8Array (height, width, 3)
  finish() {
    if (this.height === this.fromHeight) return this.narrow;
    const stride = this.width * 3;
    const result = new Uint8Array(this.height * stride);
    wholeNumbers(weights(this.fromHeight, this.height, hamming)).forEach(({ first, taps }, y) => {
      for (let x = 0; x < stride; x++) {
        let sum = 1 << (PRECISION - 1);
        for (let j = 0; j < taps.length; j++) sum += this.narrow[(first + j) * stride + x] * taps[j];
        result[y * stride + x] = clip(sum);
      }
    });
    return result;
  }
}

// A map of numbers in [0, 1] resized bilinearly, as PyTorch does it with antialias=True; Float32Array both.
export function resizeMap(map, fromHeight, fromWidth, height, width) {
  const narrow = new Float32Array(fromHeight * width);
  weights(fromWidth, width, triangle).forEach(({ first, taps }, x) => {
    for (let y = 0; y < fromHeight; y++) {
      let sum = 0;
      for (let j = 0; j < taps.length; j++) sum += map[y * fromWidth + first + j] * taps[j];
      narrow[y * width + x] = sum;
    }
  });
  const result = new Float32Array(height * width);
  weights(fromHeight, height, triangle).forEach(({ first, taps }, y) => {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let j = 0; j < taps.length; j++) sum += narrow[(first + j) * width + x] * taps[j];
      result[y * width + x] = Math.min(1, Math.max(0, sum));
    }
  });
  return result;
}

// Stretch so that the darkest value becomes 0 and the brightest `top`; (H, W, 3) -> Float32Array (3, H, W).
export function normalize(pixels, top) {
  let low = 255, high = 0;
  for (const value of pixels) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const scale = high > low ? Math.fround(top / (high - low)) : 0;
  const plane = pixels.length / 3;
  const result = new Float32Array(pixels.length);
  for (let i = 0; i < plane; i++) {
    for (let c = 0; c < 3; c++) result[c * plane + i] = (pixels[3 * i + c] - low) * scale;
  }
  return result;
}
