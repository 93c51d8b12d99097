/**
 * Times of packets, exactly: 64 bits of some unit, without big integers where numbers do.
 *
 * @module
 */

/** A moment: seconds since 1970 and a fraction. */
export interface PacketTime {
  /** Whole seconds, exact up to 2^53; below 0 only with an offset. */
  seconds: number;
  /** Units within the second. */
  fraction: number;
  /** How many units a second has: 10^6 or 10^9. */
  perSecond: number;
  /** Whether nothing finer than that unit was lost. */
  exact: boolean;
}

/** Whether a resolution is no finer than microseconds. */
export function isMicroseconds(resolution: number): boolean {
  return resolution < 0x80 ? resolution <= 6 : resolution === 0x80;
}

/** Divides a 64-bit number by one below 2^37; the quotient must be below 2^53. */
function divide(high: number, low: number, divisor: number): [number, number] {
  const first = high % divisor;
  const second = first * 65536 + (low >>> 16);
  const third = (second % divisor) * 65536 + (low & 0xffff);
  const quotient = Math.floor(high / divisor) * 0x100000000 +
    Math.floor(second / divisor) * 65536 + Math.floor(third / divisor);
  return [quotient, third % divisor];
}

/** Powers of ten up to the 9th. */
const TENS = Array.from({ length: 10 }, (_, n) => 10 ** n);

/**
 * Reads a pcapng time.
 *
 * @param high Upper 32 bits.
 * @param low Lower 32 bits.
 * @param resolution `if_tsresol`.
 * @param offset `if_tsoffset`.
 * @param time Where it goes: in microseconds if the unit is no finer, else in nanoseconds, cut off.
 */
export function readTime(
  high: number,
  low: number,
  resolution: number,
  offset: bigint,
  time: PacketTime,
): void {
  const perSecond = isMicroseconds(resolution) ? 1e6 : 1e9;
  time.perSecond = perSecond;
  if (resolution <= 9 && offset === 0n) {
    const units = TENS[resolution]!;
    const [seconds, rest] = divide(high, low, units);
    time.seconds = seconds;
    time.fraction = rest * (perSecond / units);
    time.exact = true;
    return;
  }
  const units = resolution < 0x80 ? 10n ** BigInt(resolution) : 1n << BigInt(resolution & 0x7f);
  const total = (BigInt(high) << 32n) | BigInt(low);
  const scaled = (total % units) * BigInt(perSecond);
  time.seconds = Number(total / units + offset);
  time.fraction = Number(scaled / units);
  time.exact = scaled % units === 0n;
}

/** Splits seconds and a fraction into the two halves of a 64-bit number of units. */
export function joinTime(seconds: number, fraction: number, perSecond: number): [number, number] {
  const lower = (seconds % 65536) * perSecond + fraction;
  const upper = Math.floor(seconds / 65536) * perSecond + Math.floor(lower / 65536);
  return [Math.floor(upper / 65536) >>> 0, (upper % 65536) * 65536 + lower % 65536];
}

/** A time in seconds as a decimal number, with as many digits as its unit has. */
export function formatSeconds({ seconds, fraction, perSecond }: PacketTime): string {
  const whole = seconds + Math.floor(fraction / perSecond);
  const digits = perSecond === 1e9 ? 9 : 6;
  // Below zero the fraction still counts upwards.
  const rest = fraction % perSecond;
  if (whole >= 0 || rest === 0) return `${whole}.${String(rest).padStart(digits, "0")}`;
  return `-${-whole - 1}.${String(perSecond - rest).padStart(digits, "0")}`;
}

/** A time as ISO 8601 in UTC if its year has four digits, else in seconds since 1970. */
export function formatTime(time: PacketTime): string {
  const whole = time.seconds + Math.floor(time.fraction / time.perSecond);
  const date = new Date(whole * 1000);
  const year = date.getUTCFullYear();
  if (!(year >= 0 && year <= 9999)) return `${formatSeconds(time)} s`;
  const digits = time.perSecond === 1e9 ? 9 : 6;
  const rest = String(time.fraction % time.perSecond).padStart(digits, "0");
  return `${date.toISOString().slice(0, 19)}.${rest}Z`;
}

/** Whether the first time is earlier. */
export function isEarlier(a: PacketTime, b: PacketTime): boolean {
  return a.seconds + a.fraction / a.perSecond === b.seconds + b.fraction / b.perSecond
    ? a.seconds === b.seconds && a.fraction * b.perSecond < b.fraction * a.perSecond
    : a.seconds + a.fraction / a.perSecond < b.seconds + b.fraction / b.perSecond;
}
