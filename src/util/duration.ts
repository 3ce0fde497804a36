/** Formats milliseconds for people, rounded up: `34 s`, `12 min`, `3 h 20 min`. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(Math.ceil(milliseconds / 1000), 1);
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest === 0 ? '' : ` ${rest} min`}`;
}
