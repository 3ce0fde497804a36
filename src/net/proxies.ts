import { type AddressRange, parseAddressRange, parseIpAddress } from '../util/ip-address.ts';

/** Finds the proxy for a URL; undefined for a direct connection. */
export type FindProxy = (url: URL) => URL | undefined;

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' };

/**
 * Reads the usual variables: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` for both, and `NO_PROXY`, each in lower case, too,
 * which comes first. This machine itself is never behind a proxy.
 *
 * @throws Error that names the variable
 * @see https://about.gitlab.com/blog/2021/01/27/we-need-to-talk-no-proxy/ on how programs differ; this one follows the
 *   majority
 */
export function findProxyBy(variables: Readonly<Record<string, string | undefined>>): FindProxy {
  const value = (name: string): [string, string] | undefined => {
    const given = [name.toLowerCase(), name].find((candidate) => variables[candidate] !== undefined);
    return given === undefined ? undefined : [given, (variables[given] ?? '').trim()];
  };
  const proxy = (name: string): URL | undefined => {
    const [from, text] = value(name) ?? value('ALL_PROXY') ?? ['', ''];
    return text === '' ? undefined : parseProxy(from, text);
  };
  const byProtocol: Readonly<Record<string, URL | undefined>> = {
    'http:': proxy('HTTP_PROXY'),
    'https:': proxy('HTTPS_PROXY'),
  };
  const [, exceptions = ''] = value('NO_PROXY') ?? [];
  const isException = exceptions
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(matcher);
  return (url) =>
    isThisMachine(url) || isException.some((matches) => matches(url)) ? undefined : byProtocol[url.protocol];
}

function parseProxy(name: string, text: string): URL {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  if (url !== null && /^https?:$/.test(url.protocol)) return url;
  throw new Error(`${name} must be the URL of a proxy that begins with http:// or https://.`);
}

/**
 * An entry of `NO_PROXY`: `*`, a host with or without its subdomains, an address, or a range, each with an optional
 * port.
 */
function matcher(entry: string): (url: URL) => boolean {
  if (entry === '*') return () => true;
  const range = parsedRange(entry);
  if (range !== undefined) {
    return (url) => {
      const address = parseIpAddress(bare(url.hostname));
      return address !== undefined && range.contains(address);
    };
  }
  const [, host = entry, port] = /^(.*?)(?::(\d+))?$/.exec(entry) ?? [];
  const name = bare(host.toLowerCase()).replace(/^\*?\.|\.$/g, '');
  return (url) => {
    const hostname = bare(url.hostname).replace(/\.$/, '');
    const isPort = port === undefined || port === (url.port || DEFAULT_PORTS[url.protocol]);
    return isPort && (hostname === name || hostname.endsWith(`.${name}`));
  };
}

function parsedRange(entry: string): AddressRange | undefined {
  try {
    return parseAddressRange(entry);
  } catch {
    return undefined;
  }
}

function isThisMachine({ hostname }: URL): boolean {
  return hostname === 'localhost' || parseIpAddress(bare(hostname))?.range() === 'loopback';
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}
