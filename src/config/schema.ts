import { redisUrl } from './redis-url.ts';
import { SOURCE_NAMES } from './sources.ts';
import {
  addressRange,
  bytes,
  contact,
  count,
  countOrAuto,
  countOrNone,
  dnsServer,
  domainOrAddress,
  duration,
  email,
  httpsUrl,
  listOf,
  oneOf,
  pattern,
  platform,
  port,
  portOrOff,
  rate,
  registry,
  registryName,
  registryTables,
  replica,
  type SettingType,
  text,
  toggle,
  urlOrOff,
} from './types.ts';

/** A setting. Flags, environment variables, keys of the file and `--help` are all derived from it. */
export interface Setting<T> {
  readonly type: SettingType<T>;
  /** The default as text. Absent if it depends on the machine or on other settings. */
  readonly default?: string;
  /** The description in `--help`: a noun phrase, then conditions. */
  readonly doc: string;
  /** The section of `--help` that lists the setting. */
  readonly section: keyof typeof SECTIONS;
  /** Set if SIGHUP reloads the setting. All others need a restart. */
  readonly reloads?: true;
  /** The value in the example file. Absent if the default is a good example. */
  readonly example?: string;
  /** The example in the file, if the file takes a table. */
  readonly fileExample?: unknown;
}

/** The titles of the sections, in the order of `--help` and of the reference. */
export const SECTIONS = {
  listening: 'Listening',
  https: 'HTTPS',
  images: 'Allowed images',
  clients: 'Clients and limits',
  cache: 'Cache and state',
  engine: 'Image sources',
  replicas: 'Replicas',
  page: 'Web page',
  watching: 'Logs and metrics',
} as const;

export const SCHEMA = {
  host: {
    section: 'listening',
    type: text,
    doc: 'Address to listen on. Default: all addresses with --tls acme, otherwise 127.0.0.1.',
    example: '0.0.0.0',
  },
  port: {
    section: 'listening',
    type: port,
    doc: 'Port for HTTP; 0 selects a free port. With TLS, it serves only ACME challenges and health checks, and redirects all other requests to HTTPS. Default: 80 with --tls acme, otherwise 8080.',
    example: '80',
  },
  httpsPort: {
    section: 'listening',
    type: port,
    doc: 'Port for HTTPS; 0 selects a free port. Default: 443 with --tls acme, otherwise 8443.',
    example: '443',
  },
  trustProxy: {
    section: 'listening',
    type: listOf(addressRange),
    default: '',
    doc: 'Addresses of the reverse proxies in front of the service. Only these may set X-Forwarded-For and X-Forwarded-Proto, and X-Forwarded-Host if it names one of DOMAINS or REPLICAS.',
    example: '127.0.0.1,10.0.0.0/8',
  },
  replicas: {
    section: 'listening',
    reloads: true,
    type: listOf(replica),
    default: '',
    doc: 'Public URLs of all services with the same content, including this one. Metalinks and Link headers list them. Each URL may be followed by a country code.',
    example: 'https://dl1.example.org,https://dl2.example.org de',
  },
  maxConnections: {
    section: 'listening',
    type: countOrNone,
    default: '10000',
    doc: 'Maximum number of open connections, divided evenly among WORKERS. 0 sets no limit.',
  },
  connectionsPerClient: {
    section: 'listening',
    type: countOrNone,
    default: '256',
    doc: 'Maximum number of connections of one client to each worker. A client is an IPv4 address or an IPv6 /64. Proxies in TRUST_PROXY are exempt. 0 sets no limit.',
  },
  minClientSpeed: {
    section: 'listening',
    type: bytes,
    default: '1KiB',
    doc: 'Minimum transfer rate of a client, in bytes per second. A slower client is disconnected. 0 sets no limit.',
  },
  minClientSpeedWindow: {
    section: 'listening',
    type: duration,
    default: '2m',
    doc: 'How long a client may stay below MIN_CLIENT_SPEED, including pauses.',
  },
  maxEventLoopDelay: {
    section: 'listening',
    type: duration,
    default: '500ms',
    doc: 'Maximum delay of a process’s event loop, averaged over one second. Above it, new requests get 503. 0s sets no limit.',
  },
  drain: {
    section: 'listening',
    type: duration,
    default: '30s',
    doc: 'How long downloads in progress may continue after the service is asked to stop.',
  },
  workers: {
    section: 'listening',
    type: countOrAuto,
    doc: 'Number of worker processes. Each uses one core and about 100 MB of memory. auto: one per core, but at most one per 256 MiB of memory. Default: 1 with --source engine, --limits-store memory, or a loopback --host; otherwise auto.',
    example: 'auto',
  },
  tls: {
    section: 'https',
    type: oneOf('acme', 'files', 'self-signed', 'off'),
    doc: 'Source of the certificate: acme (Let’s Encrypt or another ACME authority), files, self-signed, or off (plain HTTP, for use behind a proxy). Default: acme with --domains, files with --tls-cert-file, off on a loopback --host.',
    example: 'acme',
  },
  domains: {
    section: 'https',
    type: listOf(domainOrAddress),
    default: '',
    doc: 'Host names and IP addresses of the certificate. Each must point to this service. The first is the primary name. With ACME_DNS_HOOK, the others may be wildcards such as *.example.org.',
    example: 'dl.example.org',
  },
  acmeEmail: {
    section: 'https',
    type: email,
    doc: 'Email address at which the certificate authority may contact you. Required with --tls acme. Setting it accepts the authority’s terms of service.',
    example: 'ops@example.org',
  },
  acmeDirectory: {
    section: 'https',
    type: httpsUrl,
    doc: 'ACME directory URL of the certificate authority. Default: Let’s Encrypt.',
    example: 'https://acme-v02.api.letsencrypt.org/directory',
  },
  acmeStaging: {
    section: 'https',
    type: toggle,
    default: 'false',
    doc: 'Use of Let’s Encrypt’s staging directory, which has generous rate limits. Browsers don’t trust its certificates.',
  },
  acmeClient: {
    section: 'https',
    type: oneOf('auto', 'greenlock', 'builtin'),
    default: 'auto',
    doc: 'ACME client that orders certificates. auto uses greenlock, and the built-in client if greenlock itself fails or lacks a feature.',
    example: 'builtin',
  },
  acmeChallenge: {
    section: 'https',
    type: oneOf('auto', 'http-01', 'tls-alpn-01', 'dns-01'),
    default: 'auto',
    doc: 'How the authority validates the domains: http-01 at port 80, tls-alpn-01 at port 443, or dns-01 by ACME_DNS_HOOK. auto uses dns-01 with a hook. Otherwise, it uses http-01, and after a failed validation tls-alpn-01 for the next attempt.',
    example: 'tls-alpn-01',
  },
  acmeDnsHook: {
    section: 'https',
    type: text,
    doc: 'Program that adds and removes TXT records for dns-01. It runs as: PROGRAM present|cleanup _acme-challenge.DOMAIN. VALUE. Required for wildcards in DOMAINS.',
    example: '/etc/dockerproxy/dns-hook',
  },
  acmeDnsResolvers: {
    section: 'https',
    type: listOf(dnsServer),
    default: '',
    doc: 'DNS servers, as ADDRESS or ADDRESS:PORT, that must have the TXT record of dns-01 before the authority validates it. Default: the authoritative servers of the domain.',
    example: '9.9.9.9',
  },
  acmeProfile: {
    section: 'https',
    type: text,
    doc: 'Certificate profile to request from the authority, such as classic, tlsserver, or shortlived. Default: the authority’s default profile.',
    example: 'shortlived',
  },
  acmePreferredChain: {
    section: 'https',
    type: text,
    doc: 'Common name of an issuer. If the authority offers several chains, the first one with this issuer is used. Default: the authority’s default chain.',
    example: 'ISRG Root X2',
  },
  acmeEabKid: {
    section: 'https',
    type: text,
    doc: 'Key identifier of the external account binding, for authorities that require one. Requires ACME_EAB_KEY_FILE.',
    example: 'kid-1',
  },
  acmeEabKeyFile: {
    section: 'https',
    type: text,
    doc: 'File with the HMAC key of the external account binding, in base64url. Requires ACME_EAB_KID.',
    example: '/run/credentials/dockerproxy.service/eab-key',
  },
  acmeFallbackDirectory: {
    section: 'https',
    type: httpsUrl,
    doc: 'ACME directory URL of a second authority. It is asked after the first one has failed for two days, or sooner if the certificate expires within four days.',
    example: 'https://acme.zerossl.com/v2/DV90',
  },
  acmeFallbackEabKid: {
    section: 'https',
    type: text,
    doc: 'Key identifier of the external account binding at ACME_FALLBACK_DIRECTORY. Requires ACME_FALLBACK_EAB_KEY_FILE.',
    example: 'kid-2',
  },
  acmeFallbackEabKeyFile: {
    section: 'https',
    type: text,
    doc: 'File with the HMAC key of ACME_FALLBACK_EAB_KID, in base64url.',
    example: '/run/credentials/dockerproxy.service/fallback-eab-key',
  },
  acmeCaFile: {
    section: 'https',
    type: text,
    doc: 'PEM file with root certificates that are also trusted for connections to the certificate authority, for a private authority.',
    example: '/etc/dockerproxy/acme-ca.pem',
  },
  tlsCertFile: {
    section: 'https',
    type: text,
    doc: 'PEM file with the certificate and its chain, reloaded when it changes. Only with --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.crt',
  },
  tlsKeyFile: {
    section: 'https',
    type: text,
    doc: 'PEM file with the private key of TLS_CERT_FILE. Only with --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.key',
  },
  allow: {
    section: 'images',
    reloads: true,
    type: listOf(pattern),
    doc: 'Images that may be fetched, as globs over registry/repository. Default: the well-known public registries and INSECURE_REGISTRIES.',
    example: 'docker.io/library/*,ghcr.io/my-organization/**',
  },
  deny: {
    section: 'images',
    reloads: true,
    type: listOf(pattern),
    default: '',
    doc: 'Images that may not be fetched, as globs over registry/repository. Overrides ALLOW.',
    example: 'docker.io/library/wordpress',
  },
  allowFile: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'File with more patterns for ALLOW, one per line. # starts a comment.',
    example: '/etc/dockerproxy/allow',
  },
  denyFile: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'File with more patterns for DENY, one per line. # starts a comment.',
    example: '/etc/dockerproxy/deny',
  },
  policy: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'TOML file that lists the images that must be signed and the public keys that verify them. Only with --source registry.',
    example: '/etc/dockerproxy/policy.toml',
  },
  insecureRegistries: {
    section: 'images',
    type: listOf(registry),
    default: '',
    doc: 'Registries to contact over plain HTTP, even at private addresses. List their token servers, too.',
    example: 'registry.lan:5000',
  },
  clientCredentials: {
    section: 'images',
    type: oneOf('on', 'off'),
    default: 'off',
    doc: 'Acceptance of credentials in requests, for private images: on or off. Requires HTTPS or a client on this machine, and --source registry. Credentials go to one registry only.',
  },
  registryApi: {
    section: 'images',
    type: oneOf('on', 'off'),
    default: 'on',
    doc: 'Registry API at /v2/, through which docker pull and similar commands pull from all registries: on or off. Only with --source registry.',
  },
  registryNames: {
    section: 'images',
    type: listOf(registryName),
    default: '',
    doc: 'Names for registries with a port, because repository names in the registry API cannot contain one: NAME=HOST:PORT.',
    example: 'lab=registry.lan:5000',
  },
  defaultPlatform: {
    section: 'images',
    type: platform,
    default: 'linux/amd64',
    doc: 'Platform of an image if the request doesn’t name one.',
  },
  maxImageSize: {
    section: 'images',
    type: bytes,
    default: '0',
    doc: 'Maximum size of an archive. 0 sets no limit.',
  },
  maxUnpackedSize: {
    section: 'images',
    type: bytes,
    default: '64GiB',
    doc: 'Maximum size of the unpacked layers of an image whose files are requested. Larger images are only available with compressed layers. 0 sets no limit.',
  },
  contentsOnDemand: {
    section: 'images',
    type: bytes,
    default: '64MiB',
    doc: 'Maximum number of bytes of layers that a HEAD or API request reads to list the files of an image. Above it, the response is 202 until a download has read the layers.',
  },
  allowClients: {
    section: 'clients',
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Clients that may use the service, as addresses or ranges in CIDR notation. If empty, all clients may.',
    example: '192.0.2.0/24,2001:db8::/32',
  },
  denyClients: {
    section: 'clients',
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Clients that may not use the service, as addresses or ranges in CIDR notation. Overrides ALLOW_CLIENTS.',
    example: '192.0.2.7',
  },
  allowClientsFile: {
    section: 'clients',
    reloads: true,
    type: text,
    doc: 'File with more addresses for ALLOW_CLIENTS, one per line. # starts a comment.',
    example: '/etc/dockerproxy/allow-clients',
  },
  denyClientsFile: {
    section: 'clients',
    reloads: true,
    type: text,
    doc: 'File with more addresses for DENY_CLIENTS, one per line. # starts a comment.',
    example: '/etc/dockerproxy/deny-clients',
  },
  rateLimit: {
    section: 'clients',
    type: rate,
    default: '60/minute',
    doc: 'Maximum rate of requests for downloads and the API per client, including failed requests. 0 sets no limit. A client is an IPv4 address or an IPv6 /64.',
  },
  pageRateLimit: {
    section: 'clients',
    type: rate,
    default: '600/minute',
    doc: 'Maximum rate of all other requests per client, such as those for pages, their assets, and problem pages. 0 sets no limit.',
  },
  downloadsPerIp: {
    section: 'clients',
    type: countOrNone,
    default: '4',
    doc: 'Maximum number of simultaneous downloads per client. A download counts once, regardless of its number of connections. 0 sets no limit.',
  },
  connectionsPerDownload: {
    section: 'clients',
    type: countOrNone,
    default: '32',
    doc: 'Maximum number of connections of one client for one download, in each worker. 0 sets no limit.',
  },
  maxDownloads: {
    section: 'clients',
    type: countOrNone,
    default: '1000',
    doc: 'Maximum number of simultaneous downloads of all clients together. 0 sets no limit.',
  },
  dailyBytes: {
    section: 'clients',
    type: bytes,
    default: '100GiB',
    doc: 'Maximum number of bytes per client in 24 hours. Bytes count when they are sent to the client or fetched into the cache for it, whichever is first. A download that has started may finish. 0 sets no limit.',
  },
  bandwidthPerIp: {
    section: 'clients',
    type: bytes,
    default: '0',
    doc: 'Maximum transfer rate of a client in bytes per second, over all its connections to a process. 0 sets no limit.',
  },
  limitsStore: {
    section: 'clients',
    type: oneOf('sqlite', 'memory'),
    default: 'sqlite',
    doc: 'Storage of the counters of all limits. sqlite is a file in STATE_DIR, shared by all processes. memory is separate in each process. sqlite keeps the counters across restarts. With --redis-url, used only during an outage of Redis.',
  },
  cacheSize: {
    section: 'cache',
    type: bytes,
    default: '20GiB',
    doc: 'Maximum size of the cache for blobs and saved images. 0 turns it off.',
  },
  readAhead: {
    section: 'cache',
    type: bytes,
    default: '256MiB',
    doc: 'Maximum number of bytes that are fetched into the cache ahead of the fastest client of a download. Beyond that, the fetch waits for the client. At least 1MiB; 0 sets no limit.',
  },
  cacheDir: {
    section: 'cache',
    type: text,
    doc: 'Folder for data that can be fetched again. Default: /var/cache/dockerproxy for root, otherwise ~/.cache/dockerproxy.',
    example: '/var/cache/dockerproxy',
  },
  stateDir: {
    section: 'cache',
    type: text,
    doc: 'Folder for data that must be kept. Default: /var/lib/dockerproxy for root, otherwise ~/.local/state/dockerproxy.',
    example: '/var/lib/dockerproxy',
  },
  staleIfError: {
    section: 'cache',
    type: duration,
    default: '24h',
    doc: 'How long the last known digest of a tag may be used while its registry doesn’t respond. 0s turns this off.',
  },
  source: {
    section: 'engine',
    type: oneOf(...SOURCE_NAMES),
    default: 'registry',
    doc: 'Source of images: registry (downloads from the registries directly) or engine (a Docker Engine that pulls and saves images).',
  },
  registries: {
    section: 'engine',
    type: registryTables,
    default: '',
    doc: 'Mirrors of registries, tried in order before the registry itself. In the file, each registry is a table with mirrors and ca, a list of PEM files. These certificate authorities are trusted only for the registry and its mirrors. Only with --source registry.',
    fileExample: { 'docker.io': { mirrors: ['https://mirror.lan:5000'], ca: ['/etc/dockerproxy/ca.pem'] } },
  },
  certsDir: {
    section: 'engine',
    type: text,
    doc: 'Folder with containerd’s hosts.toml files, which list the mirrors, certificate authorities, and client certificates of registries. Read at startup. Only with --source registry.',
    example: '/etc/containerd/certs.d',
  },
  pull: {
    section: 'engine',
    type: oneOf('always', 'missing', 'never'),
    default: 'always',
    doc: 'When the engine pulls an image: always (for each request), missing (only if it doesn’t have the image), or never. Only with --source engine.',
  },
  pulls: {
    section: 'engine',
    type: count,
    default: '2',
    doc: 'Maximum number of images that the engine pulls at once. The same limit applies to the images that it saves at once. Only with --source engine.',
  },
  pullQueue: {
    section: 'engine',
    type: count,
    default: '16',
    doc: 'Maximum number of images that wait to be pulled. The same limit applies to images that wait to be saved. Further requests get 503. Only with --source engine.',
  },
  engineKeep: {
    section: 'engine',
    type: bytes,
    default: '20GiB',
    doc: 'Maximum size of the images that this service pulled and keeps in the engine. Other images are never removed. Only with --source engine.',
  },
  redisUrl: {
    section: 'replicas',
    type: redisUrl,
    doc: 'URL of the Redis or Valkey that all replicas share for limits, certificates, and resolved tags: redis://HOST, rediss://USER:PASSWORD@HOST (TLS), redis-sentinel://HOST,HOST/0#MASTER, or redis-cluster://HOST,HOST.',
    example: 'rediss-sentinel://redis1.lan,redis2.lan,redis3.lan/0#mymaster',
  },
  redisPasswordFile: {
    section: 'replicas',
    type: text,
    doc: 'File with the password for REDIS_URL, as an alternative to a password in the URL.',
    example: '/run/credentials/dockerproxy.service/redis-password',
  },
  redisSentinelUser: {
    section: 'replicas',
    type: text,
    doc: 'User name for the Sentinels. Requires REDIS_SENTINEL_PASSWORD_FILE. Default: the user `default`.',
    example: 'dockerproxy',
  },
  redisSentinelPasswordFile: {
    section: 'replicas',
    type: text,
    doc: 'File with the password of the Sentinels. For Sentinels without a password, use an empty file, such as /dev/null. Default: the user and password of Redis.',
    example: '/run/credentials/dockerproxy.service/redis-sentinel-password',
  },
  redisTlsCaFile: {
    section: 'replicas',
    type: text,
    doc: 'PEM file with the private certificate authority of Redis and its Sentinels, trusted in addition to those of the system. Requires rediss://.',
    example: '/etc/dockerproxy/redis-ca.pem',
  },
  redisTlsCertFile: {
    section: 'replicas',
    type: text,
    doc: 'PEM file with the client certificate that Redis requires. Requires rediss://.',
    example: '/run/credentials/dockerproxy.service/redis-client.crt',
  },
  redisTlsKeyFile: {
    section: 'replicas',
    type: text,
    doc: 'PEM file with the private key of that client certificate. Default: REDIS_TLS_CERT_FILE, which then contains both.',
    example: '/run/credentials/dockerproxy.service/redis-client.key',
  },
  redisKeyFile: {
    section: 'replicas',
    type: text,
    doc: 'File with at least 32 random characters, the same for all replicas. It encrypts the private key of the certificate in Redis. Required with --redis-url and --tls acme.',
    example: '/run/credentials/dockerproxy.service/redis-key',
  },
  tagTtl: {
    section: 'replicas',
    type: duration,
    doc: 'How long a resolved tag is cached before the registry is asked again. Default: 10s with --redis-url; otherwise 0s, which asks for each download.',
    example: '30s',
  },
  operatorName: {
    section: 'page',
    reloads: true,
    type: text,
    doc: 'Name of the operator, shown on the page.',
    example: 'Example Labs',
  },
  operatorContact: {
    section: 'page',
    reloads: true,
    type: contact,
    doc: 'Contact of the operator, shown on the page: an email address or an https:// URL.',
    example: 'images@example.org',
  },
  searchUrl: {
    section: 'page',
    type: urlOrOff,
    default: 'https://hub.docker.com/v2/search/repositories/',
    doc: 'URL of the search API that suggests repositories as users type: Docker Hub’s or a compatible one. It receives what users type. The same host describes tags of Docker Hub. off turns suggestions and descriptions off.',
  },
  logLevel: {
    section: 'watching',
    reloads: true,
    type: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    doc: 'Minimum severity of log messages.',
  },
  logFormat: {
    section: 'watching',
    type: oneOf('auto', 'json', 'text'),
    default: 'auto',
    doc: 'Format of log messages: json (one object per line), text (readable lines), or auto (text on a terminal and under journald, otherwise json).',
  },
  metricsPort: {
    section: 'watching',
    type: portOrOff,
    default: 'off',
    doc: 'Port that serves Prometheus metrics at /metrics; 0 selects a free port.',
  },
  metricsHost: {
    section: 'watching',
    type: text,
    default: '127.0.0.1',
    doc: 'Address that serves metrics. Keep it private, because metrics reveal how the service is used.',
  },
} as const satisfies Record<string, Setting<unknown>>;

export type SettingName = keyof typeof SCHEMA;

type Values = { readonly [Name in SettingName]: ReturnType<(typeof SCHEMA)[Name]['type']['parse']> };

/** Settings without a default of their own. */
type Optional =
  | 'allow'
  | 'allowFile'
  | 'denyFile'
  | 'allowClientsFile'
  | 'denyClientsFile'
  | 'policy'
  | 'certsDir'
  | 'redisUrl'
  | 'redisPasswordFile'
  | 'redisSentinelUser'
  | 'redisSentinelPasswordFile'
  | 'redisTlsCaFile'
  | 'redisTlsCertFile'
  | 'redisTlsKeyFile'
  | 'redisKeyFile'
  | 'acmeEmail'
  | 'acmeDnsHook'
  | 'acmeProfile'
  | 'acmePreferredChain'
  | 'acmeEabKid'
  | 'acmeEabKeyFile'
  | 'acmeFallbackDirectory'
  | 'acmeFallbackEabKid'
  | 'acmeFallbackEabKeyFile'
  | 'acmeCaFile'
  | 'tlsCertFile'
  | 'tlsKeyFile'
  | 'operatorName'
  | 'operatorContact';

/** The settings in effect. A setting without a default is undefined if it is not set. */
export type Config = Omit<Values, Optional> & { readonly [Name in Optional]: Values[Name] | undefined };

/** The settings as given, before defaults that depend on other settings are resolved. */
export type GivenSettings = { readonly [Name in SettingName]: Values[Name] | undefined };

/** `maxImageSize` → `DOCKERPROXY_MAX_IMAGE_SIZE`. */
export function environmentName(name: string): string {
  return `DOCKERPROXY_${fileKey(name).toUpperCase()}`;
}

/** `maxImageSize` → `max-image-size`. */
export function flagName(name: string): string {
  return fileKey(name).replaceAll('_', '-');
}

/** `maxImageSize` → `max_image_size`. */
export function fileKey(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
