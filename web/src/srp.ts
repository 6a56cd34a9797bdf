// Proves to a Cognito user pool that one knows a password, without sending it: Secure Remote Password 6a (RFC 5054,
// its 3072-bit group) with Cognito's own key derivation, as the AWS SDKs for JavaScript compute it.

const N = BigInt(
  `0x${"FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"}` +
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F" +
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B" +
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510" +
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7" +
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C" +
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
);
const G = 2n;
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

type Bytes = Uint8Array<ArrayBuffer>;

export interface Secret {
  own: bigint;
  /** What the pool is told first, in hexadecimal digits. */
  open: string;
}

export interface Challenge {
  userPool: string;
  userId: string;
  password: string;
  /** `SRP_B`, `SALT` (hexadecimal) and `SECRET_BLOCK` (base64) of the pool's challenge. */
  poolOpen: string;
  salt: string;
  block: string;
}

export function secret(): Secret {
  const own = number(crypto.getRandomValues(new Uint8Array(128))) % N;
  return { own, open: power(G, own).toString(16) };
}

/** The `TIMESTAMP` and the `PASSWORD_CLAIM_SIGNATURE` that answer a challenge. */
export async function proof(mine: Secret, asked: Challenge, now = new Date()): Promise<[string, string]> {
  const pool = asked.userPool.slice(asked.userPool.indexOf("_") + 1);
  const theirs = BigInt(`0x${asked.poolOpen}`);
  if (theirs % N === 0n) throw new Error("the user pool's challenge is none");
  const scramble = await hash(padded(BigInt(`0x${mine.open}`)), padded(theirs));
  const inner = new Uint8Array(await digest(text(`${pool}${asked.userId}:${asked.password}`)));
  const x = await hash(padded(BigInt(`0x${asked.salt}`)), inner);
  const k = await hash(padded(N), padded(G));
  const base = (((theirs - k * power(G, x)) % N) + N) % N;
  const shared = power(base, mine.own + scramble * x);
  const pseudorandom = await hmac(padded(scramble), padded(shared));
  const key = (await hmac(pseudorandom, text("Caldera Derived Key\u0001"))).slice(0, 16);
  const at = timestamp(now);
  const block = Uint8Array.from(atob(asked.block), (one) => one.charCodeAt(0));
  const signed = await hmac(key, joined(text(pool + asked.userId), block, text(at)));
  return [at, btoa(String.fromCharCode(...signed))];
}

function timestamp(at: Date): string {
  const clock = [at.getUTCHours(), at.getUTCMinutes(), at.getUTCSeconds()].map((one) => String(one).padStart(2, "0"));
  const day = `${WEEKDAYS[at.getUTCDay()]} ${MONTHS[at.getUTCMonth()]} ${at.getUTCDate()}`;
  return `${day} ${clock.join(":")} UTC ${at.getUTCFullYear()}`;
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = base % N;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % N;
    square = (square * square) % N;
  }
  return result;
}

/** Big-endian bytes, with a zero before a first byte whose highest bit is set. */
function padded(value: bigint): Bytes {
  let digits = value.toString(16);
  if (digits.length % 2) digits = `0${digits}`;
  if (Number.parseInt(digits.slice(0, 2), 16) > 127) digits = `00${digits}`;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function number(bytes: Bytes): bigint {
  return BigInt(`0x${Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("")}`);
}

function text(from: string): Bytes {
  return new Uint8Array(new TextEncoder().encode(from));
}

function joined(...parts: Bytes[]): Bytes {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

function digest(bytes: Bytes): Promise<ArrayBuffer> {
  return crypto.subtle.digest("SHA-256", bytes);
}

async function hash(...parts: Bytes[]): Promise<bigint> {
  return number(new Uint8Array(await digest(joined(...parts))));
}

async function hmac(key: Bytes, message: Bytes): Promise<Bytes> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message));
}
