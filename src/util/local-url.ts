/** Maps addresses that mean all addresses of the machine to one of them, on a machine without IPv6, too. */
const ANY: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '127.0.0.1' };

/** Returns the URL at which this machine reaches a service that listens on a host and port, without a final slash. */
export function localUrl(host: string, port: number, protocol: 'http' | 'https' = 'http'): string {
  const address = ANY[host] ?? host;
  return `${protocol}://${address.includes(':') ? `[${address}]` : address}:${port}`;
}
