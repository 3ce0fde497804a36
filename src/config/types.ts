import { isIP, SocketAddress } from 'node:net';
import { domainToASCII } from 'node:url';
import { ServiceError } from '../errors.ts';
import { type NamePattern, parseNamePattern } from '../oci/name-pattern.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import { parseReference } from '../oci/reference.ts';
import { parseByteSize } from '../util/byte-size.ts';
import { type AddressRange, parseAddressRange } from '../util/ip-address.ts';
import { parseParts } from './mistakes.ts';

/** How a setting is read; `parse` takes the text of a flag or a variable, or the value of a TOML key. */
export interface SettingType<T> {
  /** The placeholder for the value in `--help`. */
  readonly placeholder: string;
  /** @throws Error with a message that ends the sentence "The value …" */
  parse(value: unknown): T;
  /** Writes a value so that `parse` reads it again; absent if the value itself can be read. */
  write?(value: T): string;
}

export const text: SettingType<string> = {
  placeholder: 'TEXT',
  parse(value) {
    if (typeof value !== 'string' || value.trim() === '') throw new Error('must be a text that is not empty');
    return value.trim();
  },
};

/** An address of the web, or `off`, which is undefined. */
export const urlOrOff: SettingType<URL | undefined> = {
  placeholder: 'URL|off',
  parse(value) {
    const address = text.parse(value);
    if (address === 'off') return undefined;
    const url = URL.canParse(address) ? new URL(address) : undefined;
    if (url?.protocol === 'https:' || url?.protocol === 'http:') return url;
    throw new Error('must be a URL that begins with https:// or http://, or off');
  },
};

/** The address of a person: an e-mail address, which becomes a `mailto:` URL, or an `https:` URL. */
export const contact: SettingType<string> = {
  placeholder: 'ADDRESS',
  parse(value) {
    const address = text.parse(value).replace(/^mailto:/i, '');
    if (/^[^\s@<>"]+@[^\s@<>"]+$/.test(address)) return `mailto:${address}`;
    if (URL.canParse(address) && new URL(address).protocol === 'https:') return new URL(address).href;
    throw new Error('must be an e-mail address or a URL that begins with https://');
  },
};

export const port: SettingType<number> = {
  placeholder: 'PORT',
  parse(value) {
    const number = typeof value === 'string' && /^\d+$/.test(value.trim()) ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > 65_535) {
      throw new Error('must be a port from 1 to 65535, or 0 for any free one');
    }
    return number;
  },
};

/** A port, or `off`, which is undefined. */
export const portOrOff: SettingType<number | undefined> = {
  placeholder: 'PORT|off',
  parse: (value) => (value === 'off' ? undefined : port.parse(value)),
};

/** A whole number from 1 on. */
export const count: SettingType<number> = wholeNumber(1);

/** A whole number from 0 on, which means none or no limit. */
export const countOrNone: SettingType<number> = wholeNumber(0);

function wholeNumber(least: number): SettingType<number> {
  return {
    placeholder: 'COUNT',
    parse(value) {
      const number = typeof value === 'string' && /^\d+$/.test(value.trim()) ? Number(value) : value;
      if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < least) {
        throw new Error(`must be a whole number from ${least} on`);
      }
      return number;
    },
  };
}

/** A whole number from 1 on, or `auto`, which depends on the machine. */
export const countOrAuto: SettingType<number | 'auto'> = {
  placeholder: 'COUNT|auto',
  parse: (value) => (value === 'auto' ? value : count.parse(value)),
};

const PERIODS = new Map([
  ['second', 1000],
  ['minute', 60_000],
  ['hour', 3_600_000],
  ['day', 86_400_000],
]);

/** A number in a window of milliseconds, written as `60/minute`; 0 for no limit. */
export const rate: SettingType<{ readonly limit: number; readonly window: number }> = {
  placeholder: 'COUNT/PERIOD',
  parse(value) {
    if (value === 0 || value === '0') return { limit: 0, window: 60_000 };
    const [, count, period = ''] =
      /^([1-9]\d{0,8})\s*\/\s*([a-z]+)$/.exec(typeof value === 'string' ? value.trim() : '') ?? [];
    const window = PERIODS.get(period);
    if (count === undefined || window === undefined) {
      throw new Error(
        `must be a rate such as 60/minute (per ${[...PERIODS.keys()].join(', ')}), or 0 for no limit`,
      );
    }
    return { limit: Number(count), window };
  },
};

/** A comma list or a TOML array of whatever `item` takes. */
export function listOf<T>(item: SettingType<T>): SettingType<readonly T[]> {
  return {
    placeholder: `${item.placeholder},…`,
    parse(value) {
      const items =
        typeof value === 'string'
          ? value
              .split(',')
              .map((part) => part.trim())
              .filter(Boolean)
          : value;
      if (!Array.isArray(items)) throw new Error('must be a list');
      return parseEntries(items, item.parse);
    },
  };
}

/** Parses all entries. @throws PartsError with the mistakes of all entries, numbered from 1 */
function parseEntries<T, U>(entries: readonly T[], parse: (entry: T) => U): U[] {
  return parseParts(
    entries.map((part, at) => ({ place: `entry ${at + 1}`, part, parse: () => parse(part) })),
  );
}

export function oneOf<T extends string>(...choices: readonly T[]): SettingType<T> {
  return {
    placeholder: choices.join('|'),
    parse(value) {
      const choice = choices.find((candidate) => candidate === value);
      if (choice === undefined) throw new Error(`must be one of ${choices.join(', ')}`);
      return choice;
    },
  };
}

/** `true` or `false`. */
export const toggle: SettingType<boolean> = {
  placeholder: 'true|false',
  parse(value) {
    if (value === true || value === 'true') return true;
    if (value === false || value === 'false') return false;
    throw new Error('must be true or false');
  },
};

const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** A full host name as in DNS, in lower case, or an IP address. Names that are not ASCII become punycode. */
export const domainOrAddress: SettingType<string> = {
  placeholder: 'DOMAIN',
  parse(value) {
    const given = text.parse(value);
    // The shortest form of an IPv6 address.
    if (isIP(given) === 6) return new SocketAddress({ address: given, family: 'ipv6' }).address;
    if (isIP(given) === 4) return given;
    const [, wildcard = '', host = ''] = /^(\*\.)?(.*)$/s.exec(given) ?? [];
    const name = domainToASCII(host);
    if (!HOST_NAME.test(name) || isIP(name) !== 0) {
      throw new Error('must be a full host name such as dl.example.org, or an IP address');
    }
    return `${wildcard}${name}`;
  },
};

export const dnsServer: SettingType<string> = {
  placeholder: 'ADDRESS',
  parse(value) {
    const given = text.parse(value);
    const [, address = given] =
      /^(?:\[(.+)\]|([\d.]+)):\d{1,5}$/.exec(given)?.filter((part) => part !== undefined) ?? [];
    if (isIP(address) === 0) throw new Error('must be an IP address, such as 192.0.2.53 or 192.0.2.53:5353');
    return given;
  },
};

export const email: SettingType<string> = {
  placeholder: 'EMAIL',
  parse(value) {
    const address = text.parse(value);
    if (!/^[^\s@<>"',;:]+@[^\s@<>"',;:]+\.[^\s@<>"',;:]+$/.test(address)) {
      throw new Error('must be an e-mail address such as ops@example.org');
    }
    return address;
  },
};

/** An https:// URL. */
export const httpsUrl: SettingType<string> = {
  placeholder: 'URL',
  parse(value) {
    const url = URL.parse(text.parse(value));
    if (url?.protocol !== 'https:') throw new Error('must be a URL that begins with https://');
    return url.href;
  },
};

/** A number of bytes, with a unit. */
export const bytes: SettingType<number> = {
  placeholder: 'SIZE',
  parse(value) {
    const isWritten = typeof value === 'number' || typeof value === 'string';
    const size = isWritten ? parseByteSize(`${value}`) : undefined;
    if (size === undefined) throw new Error('must be a size such as 500MB or 20GiB');
    return size;
  },
};

/** A service that sends the same bytes, and the country that it is in. */
export interface Replica {
  /** `https://dl.example.org` */
  readonly origin: string;
  /** ISO 3166-1, in lower case. */
  readonly location: string | undefined;
}

export const replica: SettingType<Replica> = {
  placeholder: 'URL',
  parse(value) {
    const [, address = '', location] = /^(\S+)(?:\s+([a-z]{2}))?$/i.exec(text.parse(value)) ?? [];
    const url = URL.parse(address);
    const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`;
    if (isOrigin) return { origin: url.origin, location: location?.toLowerCase() };
    throw new Error(
      'must name services by URLs without a path, such as https://dl.example.org, each with a country behind it or none: https://dl.example.org de',
    );
  },
};

const DURATION_UNITS = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

/** Milliseconds, written with a unit. */
export const duration: SettingType<number> = {
  placeholder: 'DURATION',
  parse(value) {
    const [, number, unit = ''] =
      /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(typeof value === 'string' ? value.trim() : '') ?? [];
    const milliseconds = Number(number) * (DURATION_UNITS.get(unit) ?? Number.NaN);
    if (!Number.isFinite(milliseconds)) throw new Error('must be a duration such as 30s, 15m, 24h or 7d');
    return milliseconds;
  },
  write: (milliseconds) => `${milliseconds}ms`,
};

export const platform: SettingType<Platform> = {
  placeholder: 'OS/ARCH',
  parse: (value) => parsed(() => parsePlatform(text.parse(value)), 'must be a platform such as linux/amd64'),
};

/** A registry as references name it, in normal form. */
export const registry: SettingType<string> = {
  placeholder: 'HOST:PORT',
  parse(value) {
    const rule = 'must be the host and port of a registry, such as registry.lan:5000';
    const host = text.parse(value);
    const { domain } = parsed(() => parseReference(`${host}/x`), rule);
    if (domain !== host.toLowerCase()) throw new Error(rule);
    return domain;
  },
};

/** A name of a registry in the registry API. */
export interface RegistryName {
  readonly name: string;
  readonly registry: string;
}

/** A name for a registry, such as `lab=registry.lan:5000`. */
export const registryName: SettingType<RegistryName> = {
  placeholder: 'NAME=HOST:PORT',
  parse(value) {
    const [, name, host] =
      /^([a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)\s*=\s*(.+)$/.exec(text.parse(value)) ?? [];
    if (name === undefined)
      throw new Error('must be a lowercase name and a registry, such as lab=registry.lan:5000');
    return { name, registry: registry.parse(host) };
  },
  write: ({ name, registry: host }) => `${name}=${host}`,
};

/** The settings of one registry. */
export interface RegistryTable {
  /** In the order in which they are asked. */
  readonly mirrors: readonly URL[];
  /** Paths of PEM files with the authorities of the registry and its mirrors. */
  readonly ca: readonly string[];
}

const mirrorUrl: SettingType<URL> = {
  placeholder: 'URL',
  parse(value) {
    const url = URL.parse(typeof value === 'string' ? value.trim() : '');
    const isPlain = url?.username === '' && url.password === '' && url.search === '' && url.hash === '';
    if (url !== null && isPlain && /^https?:$/.test(url.protocol)) return url;
    throw new Error(
      'must name mirrors by URLs that begin with https:// or http://, without credentials, which belong into config.json',
    );
  },
};

/** Tables by registry; as text, `REGISTRY=MIRROR` for each mirror. */
export const registryTables: SettingType<ReadonlyMap<string, RegistryTable>> = {
  placeholder: 'HOST=URL,…',
  parse(value) {
    const tables = typeof value === 'string' ? tablesOf(listOf(text).parse(value)) : value;
    if (!isTable(tables)) throw new Error('must have a table for each registry');
    const hosts = parseParts(
      Object.keys(tables).map((host) => ({ place: 'key', part: host, parse: () => registry.parse(host) })),
    );
    const parsed = parseParts(
      Object.entries(tables).map(([place, part]) => ({ place, part, parse: () => parseTable(part) })),
    );
    return new Map(hosts.flatMap((host, at) => (parsed[at] === undefined ? [] : [[host, parsed[at]]])));
  },
};

function tablesOf(entries: readonly string[]): Record<string, unknown> {
  const pairs = parseEntries(entries, (entry) => {
    const [, host, mirror] = /^([^=]+)=(.+)$/.exec(entry) ?? [];
    if (host === undefined || mirror === undefined) {
      throw new Error('must name a registry and its mirror, such as docker.io=https://mirror.lan:5000');
    }
    return { host, mirror };
  });
  const byHost = Map.groupBy(pairs, ({ host }) => host);
  return Object.fromEntries(
    [...byHost].map(([host, named]) => [host, { mirrors: named.map(({ mirror }) => mirror) }]),
  );
}

function parseTable(table: unknown): RegistryTable {
  if (!isTable(table)) throw new Error('must have a table for each registry');
  const { mirrors = [], ca = [], ...others } = table;
  const parsed = parseParts<RegistryTable>([
    ...Object.keys(others).map((part) => ({ place: 'key', part, parse: refuseKey })),
    {
      place: 'mirrors',
      part: mirrors,
      parse: () => ({ mirrors: listOf(mirrorUrl).parse(mirrors), ca: [] }),
    },
    { place: 'ca', part: ca, parse: () => ({ mirrors: [], ca: listOf(text).parse(ca) }) },
  ]);
  return { mirrors: parsed.flatMap((part) => part.mirrors), ca: parsed.flatMap((part) => part.ca) };
}

function refuseKey(): never {
  throw new Error('is unknown; mirrors and ca are supported');
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

export const pattern: SettingType<NamePattern> = {
  placeholder: 'GLOB',
  parse: (value) => parseNamePattern(text.parse(value)),
};

export const addressRange: SettingType<AddressRange> = {
  placeholder: 'CIDR',
  parse: (value) => parseAddressRange(text.parse(value)),
};

function parsed<T>(parse: () => T, rule: string): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ServiceError) throw new Error(rule);
    throw error;
  }
}
