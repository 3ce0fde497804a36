/** A page such as https://social.example/@operator, which is about somebody and has no credentials. */
const PAGE = /^https?:\/\/[^:@]*\/@[^:@]*$/i;

/**
 * Hides the credentials of URLs, in lists and tables, too. All is hidden up to the last @: what is no URL, for a / or a #
 * in its password, has that password nevertheless.
 */
export function mask(value: unknown): unknown {
  if (typeof value === 'string') return PAGE.test(value) ? value : value.replace(/(:\/+).*@/s, '$1***@');
  if (Array.isArray(value)) return value.map(mask);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, mask(member)]));
}
