const MINUTE = 60;
const HOUR = 60 * MINUTE;

/** Writes a period as people do, rounded up to one unit: `59 seconds`, `3 minutes`, `14 hours`. */
export function duration(lang: string, seconds: number): string {
  const [amount, unit] =
    seconds < MINUTE
      ? [seconds, 'second']
      : seconds < HOUR
        ? [seconds / MINUTE, 'minute']
        : [seconds / HOUR, 'hour'];
  return Math.ceil(amount).toLocaleString(lang, { style: 'unit', unit, unitDisplay: 'long' });
}
