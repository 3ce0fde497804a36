/** A page such as https://social.example/@operator, which names a person and contains no credentials. */
const PAGE = /^https?:\/\/[^:@]*\/@[^:@]*$/i;

/**
 * Hides the credentials of URLs, in lists and tables, too. It hides everything up to the last @, because a password
 * with / or # makes the URL invalid.
 */
export function mask(value: unknown): unknown {
  if (typeof value === 'string') return PAGE.test(value) ? value : value.replace(/(:\/+).*@/s, '$1***@');
  if (Array.isArray(value)) return value.map(mask);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, mask(member)]));
}
