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
  // The pattern also matches what is no address, such as [:1] or 1.2.3.400, and no port, such as 70000.
  if (host === undefined || URL.parse(`http://${host}${port}`) === null) return undefined;
  return { host, port: port === ':' ? '' : port };
}
