// Private keys stay in the browser: what is about to be handed in is looked through for one, whatever its size.
const MARK = 'PRIVATE KEY-----';
const SLICE = 4_000_000;

// DER: a certificate and a CRL begin with a sequence in a sequence; a key (PKCS #8, PKCS #1, SEC 1) and PKCS #12 with a
// number in it, an encrypted key with the name of its cipher in the inner one.
export function is_der_key(raw: Uint8Array): boolean {
  const inside = (at: number) => at + 2 + ((raw[at + 1] ?? 0) >= 0x80 ? (raw[at + 1] ?? 0) - 0x80 : 0);
  if (raw[0] !== 0x30) return false;
  const first = inside(0);
  if (raw[first] === 0x02) return true;
  return raw[first] === 0x30 && raw[inside(first)] === 0x06;
}

export async function holds_key(file: Blob): Promise<boolean> {
  if (is_der_key(new Uint8Array(await file.slice(0, 64).arrayBuffer()))) return true;
  for (let at = 0; at < file.size; at += SLICE) {
    if ((await file.slice(at, at + SLICE + MARK.length).text()).includes(MARK)) return true;
  }
  return false;
}
