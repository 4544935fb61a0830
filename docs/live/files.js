// From a file to a decoded image, or to one sentence that says what is wrong with it.

export const MAX_PIXELS = 80_000_000; // as in the Python package

// An error whose message is meant for the person at the screen.
export class Problem extends Error {}

const KINDS = [
  [/^%PDF/, "is a PDF, not an image: save the page as PNG or JPEG first."],
  [/^....ftyp(heic|heix|hevc|mif1|msf1)/s, "is a HEIC photo, which browsers can't read: save it as JPEG first."],
  [/^(II\*\0|MM\0\*)/, "is a TIFF image, which browsers can't read: save it as PNG or JPEG first."],
  [/^(PK\x03\x04|Rar!|7z)/, "is an archive: unpack it and choose one image."],
];

// (height, width) from the header of a PNG or JPEG file, before any pixel is decoded; null if it isn't there.
function sizeInHeader(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length > 24 && view.getUint32(0) === 0x89504e47) return [view.getUint32(20), view.getUint32(16)];
  if (bytes.length < 4 || view.getUint16(0) !== 0xffd8) return null;
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
    const marker = bytes[at + 1];
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return [view.getUint16(at + 5), view.getUint16(at + 7)];
  }
  return null;
}

function refuseLarge(name, height, width) {
  if (height * width > MAX_PIXELS) {
    throw new Problem(
      `${name} is too large (${width} × ${height} pixels): reduce it to at most ${MAX_PIXELS / 1e6} megapixels.`,
    );
  }
}

// A Blob -> ImageBitmap, upright, colors as they are in the file (the network was trained without color profiles).
export async function decode(blob, name) {
  if (blob.size === 0) throw new Problem(`${name} is empty: choose another file.`);
  const start = new Uint8Array(await blob.slice(0, 2 ** 20).arrayBuffer());
  const text = String.fromCharCode(...start.subarray(0, 16));
  for (const [pattern, sentence] of KINDS) {
    if (pattern.test(text)) throw new Problem(`${name} ${sentence}`);
  }
  const size = sizeInHeader(start);
  if (size) refuseLarge(name, ...size);
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    const known = size || /^(GIF8|RIFF|BM)/.test(text);
    throw new Problem(
      known
        ? `${name} is damaged or incomplete: download or copy it again.`
        : `${name} is not an image that this browser can read: choose a PNG, JPEG or WebP file.`,
    );
  }
  refuseLarge(name, bitmap.height, bitmap.width);
  return bitmap;
}
