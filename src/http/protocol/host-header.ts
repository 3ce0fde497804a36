/** The parts of a Host header, in lower case. */
export interface Host {
  /** A name, an IPv4 address, or an IPv6 address in brackets. */
  readonly host: string;
  /** The port with its colon, such as `:8080`; empty without a port. */
  readonly port: string;
}

/** Allows underscores, because names of containers have them. */
const HOST = /^(?<host>[a-z0-9_][a-z0-9_.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?<port>:\d{0,5})?$/;

/**
 * Parses a Host header; undefined for anything but one host with or without a port, such as `a@b`, `a, b` or nothing.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-7.2
 */
export function parseHost(header: string | undefined): Host | undefined {
  const { host, port = '' } = HOST.exec((header ?? '').toLowerCase())?.groups ?? {};
  // The pattern also matches invalid addresses, such as [:1] or 1.2.3.400, and invalid ports, such as 70000.
  const url = host === undefined ? null : URL.parse(`http://${host}${port}`);
  if (host === undefined || url === null || host.includes('..')) return undefined;
  // URL parsers and other programs interpret 1.2.3 and 0x7f.1 as different addresses.
  if (!host.startsWith('[') && url.hostname !== host) return undefined;
  return { host, port: port === ':' ? '' : port };
}

/**
 * Tells whether a request target is a path or a URL of the host in the Host header. With any other URL, a server must
 * ignore the Host header, but some proxies don't.
 *
 * @param host the Host header; undefined if absent
 * @see https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
 */
export function isAtHost(target: string, host: string | undefined): boolean {
  if (target.startsWith('/')) return true;
  const [, scheme = '', authority] = /^(https?):\/\/([^/?#]*)/i.exec(target) ?? [];
  const named = parseHost(authority);
  const stated = host === undefined ? named : parseHost(host);
  if (named === undefined || stated === undefined) return false;
  const portOf = ({ port }: Host): string => port || (scheme.toLowerCase() === 'https' ? ':443' : ':80');
  return named.host === stated.host && portOf(named) === portOf(stated);
}
