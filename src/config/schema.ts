import { redisUrl } from './redis-url.ts';
import {
  addressRange,
  bytes,
  contact,
  count,
  countOrAuto,
  countOrNone,
  domain,
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
  registryTables,
  replica,
  type SettingType,
  text,
  toggle,
  urlOrOff,
} from './types.ts';

/** Everything that can be set: the one place that flags, variables, file keys and `--help` come from. */
export interface Setting<T> {
  readonly type: SettingType<T>;
  /** As it would be written; absent where the default depends on the machine or on other settings. */
  readonly default?: string;
  /** One sentence for `--help`. */
  readonly doc: string;
  /** What it belongs to. */
  readonly section: keyof typeof SECTIONS;
  /** Whether a change takes effect on SIGHUP; all others need a restart. */
  readonly reloads?: true;
  /** A value for the example file, where no default is one. */
  readonly example?: string;
  /** The example as a file has it, where that is a table. */
  readonly fileExample?: unknown;
}

/** In the order of `--help` and of the reference. */
export const SECTIONS = {
  listening: 'Listening',
  https: 'HTTPS',
  images: 'What may be fetched',
  clients: 'Clients and their limits',
  cache: 'The cache and what is kept',
  engine: 'Where images come from',
  replicas: 'Replicas',
  page: 'The page',
  watching: 'Watching it run',
} as const;

export const SCHEMA = {
  host: {
    section: 'listening',
    type: text,
    doc: 'The address to listen on. Default: all addresses with --tls acme, otherwise 127.0.0.1.',
    example: '0.0.0.0',
  },
  port: {
    section: 'listening',
    type: port,
    doc: 'The port for HTTP; 0 takes any free one. With TLS it answers challenges and health checks and sends all else to HTTPS. Default: 80 with --tls acme, otherwise 8080.',
    example: '80',
  },
  httpsPort: {
    section: 'listening',
    type: port,
    doc: 'The port for HTTPS; 0 takes any free one. Default: 443 with --tls acme, otherwise 8443.',
    example: '443',
  },
  trustProxy: {
    section: 'listening',
    type: listOf(addressRange),
    default: '',
    doc: 'Addresses of the proxies in front of the service. X-Forwarded-For and X-Forwarded-Proto count only from them, and X-Forwarded-Host only if it names one of DOMAINS or REPLICAS.',
    example: '127.0.0.1,10.0.0.0/8',
  },
  replicas: {
    section: 'listening',
    reloads: true,
    type: listOf(replica),
    default: '',
    doc: 'The public addresses of all services that send the same, this one among them: metalinks and Link headers name them. A country may stand behind each.',
    example: 'https://dl1.example.org,https://dl2.example.org de',
  },
  maxConnections: {
    section: 'listening',
    type: countOrNone,
    default: '10000',
    doc: 'How many connections there may be at once, shared out evenly among WORKERS; 0 sets no limit.',
  },
  connectionsPerClient: {
    section: 'listening',
    type: countOrNone,
    default: '256',
    doc: 'How many of them one client may have with each worker, by IPv4 address or IPv6 /64; proxies of TRUST_PROXY are exempt; 0 sets no limit.',
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
    doc: 'How long a client may stay below MIN_CLIENT_SPEED, pauses included.',
  },
  maxEventLoopDelay: {
    section: 'listening',
    type: duration,
    default: '500ms',
    doc: 'Maximum delay of the event loop of a process, averaged over one second. Above it, new requests get 503. 0s sets no limit.',
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
    doc: 'How many processes serve, each with a core of its own and some 100 MB; auto: as many as there are cores, and 256 MiB for each. Default: auto with --source registry on addresses of other machines, otherwise 1.',
    example: 'auto',
  },
  tls: {
    section: 'https',
    type: oneOf('acme', 'files', 'self-signed', 'off'),
    doc: 'Where the certificate comes from: Let’s Encrypt or another ACME authority, files, made here, or off for plain HTTP, as behind a proxy. Default: acme with --domains, files with --tls-cert-file, off on a loopback --host.',
    example: 'acme',
  },
  domains: {
    section: 'https',
    type: listOf(domain),
    default: '',
    doc: 'The host names that the certificate is for, the first of them before all; each must lead here.',
    example: 'dl.example.org',
  },
  acmeEmail: {
    section: 'https',
    type: email,
    doc: 'Where the authority may write to. With --tls acme; giving it accepts the authority’s terms of service.',
    example: 'ops@example.org',
  },
  acmeDirectory: {
    section: 'https',
    type: httpsUrl,
    doc: 'The ACME directory of the authority. Default: that of Let’s Encrypt.',
    example: 'https://acme-v02.api.letsencrypt.org/directory',
  },
  acmeStaging: {
    section: 'https',
    type: toggle,
    default: 'false',
    doc: 'Whether to take Let’s Encrypt’s staging directory, which has generous limits and certificates that nobody trusts.',
  },
  tlsCertFile: {
    section: 'https',
    type: text,
    doc: 'The PEM file of a certificate and its chain, read again when it changes. With --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.crt',
  },
  tlsKeyFile: {
    section: 'https',
    type: text,
    doc: 'The PEM file of the key of that certificate. With --tls files.',
    example: '/run/credentials/dockerproxy.service/tls.key',
  },
  allow: {
    section: 'images',
    reloads: true,
    type: listOf(pattern),
    doc: 'What may be fetched: globs over registry/repository. Default: the well-known public registries and INSECURE_REGISTRIES.',
    example: 'docker.io/library/*,ghcr.io/my-organisation/**',
  },
  deny: {
    section: 'images',
    reloads: true,
    type: listOf(pattern),
    default: '',
    doc: 'What may not be fetched, whatever is allowed.',
    example: 'docker.io/library/wordpress',
  },
  allowFile: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'A file with more of ALLOW, one a line; # begins a comment.',
    example: '/etc/dockerproxy/allow',
  },
  denyFile: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'A file with more of DENY, one a line.',
    example: '/etc/dockerproxy/deny',
  },
  policy: {
    section: 'images',
    reloads: true,
    type: text,
    doc: 'A TOML file that says which images have to be signed, and with which keys. With --source registry.',
    example: '/etc/dockerproxy/policy.toml',
  },
  insecureRegistries: {
    section: 'images',
    type: listOf(registry),
    default: '',
    doc: 'Registries that are spoken to by plain HTTP, also at private addresses; name their token servers, too.',
    example: 'registry.lan:5000',
  },
  defaultPlatform: {
    section: 'images',
    type: platform,
    default: 'linux/amd64',
    doc: 'The platform where a request names none.',
  },
  maxImageSize: {
    section: 'images',
    type: bytes,
    default: '0',
    doc: 'The largest archive that is sent; 0 sets no limit.',
  },
  allowClients: {
    section: 'clients',
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Who may use the service, by address: ranges in CIDR notation; without any, everyone.',
    example: '192.0.2.0/24,2001:db8::/32',
  },
  denyClients: {
    section: 'clients',
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Who may not use the service, whoever is allowed.',
    example: '192.0.2.7',
  },
  allowClientsFile: {
    section: 'clients',
    reloads: true,
    type: text,
    doc: 'A file with more of ALLOW_CLIENTS, one a line.',
    example: '/etc/dockerproxy/allow-clients',
  },
  denyClientsFile: {
    section: 'clients',
    reloads: true,
    type: text,
    doc: 'A file with more of DENY_CLIENTS, one a line.',
    example: '/etc/dockerproxy/deny-clients',
  },
  rateLimit: {
    section: 'clients',
    type: rate,
    default: '60/minute',
    doc: 'How many requests for downloads and the API a client may make, misses included; 0 sets no limit. A client is an IPv4 address or an IPv6 /64.',
  },
  pageRateLimit: {
    section: 'clients',
    type: rate,
    default: '600/minute',
    doc: 'How many other requests a client may make, for pages and their assets, problem pages included; 0 sets no limit.',
  },
  downloadsPerIp: {
    section: 'clients',
    type: countOrNone,
    default: '4',
    doc: 'How many downloads a client may have at once, however many connections each of them has; 0 sets no limit.',
  },
  connectionsPerDownload: {
    section: 'clients',
    type: countOrNone,
    default: '32',
    doc: 'Maximum number of connections that a client may have for one download, with each worker. 0 sets no limit.',
  },
  maxDownloads: {
    section: 'clients',
    type: countOrNone,
    default: '1000',
    doc: 'How many downloads all clients together may have at once; 0 sets no limit.',
  },
  dailyBytes: {
    section: 'clients',
    type: bytes,
    default: '100GiB',
    doc: 'How many bytes a client may have in 24 hours, counted when they are sent to it or fetched into the cache for it, whichever is first; a download that was begun may end. 0 sets no limit.',
  },
  bandwidthPerIp: {
    section: 'clients',
    type: bytes,
    default: '0',
    doc: 'How many bytes a second a client gets, over all its connections to a process; 0 sets no limit.',
  },
  limitsStore: {
    section: 'clients',
    type: oneOf('sqlite', 'memory'),
    default: 'sqlite',
    doc: 'Where limits are counted: in a file of STATE_DIR that processes share and that outlives them, or in each process. With --redis-url: while Redis is away.',
  },
  cacheSize: {
    section: 'cache',
    type: bytes,
    default: '20GiB',
    doc: 'How many bytes of blobs and saved images are kept in the cache; 0 turns it off.',
  },
  readAhead: {
    section: 'cache',
    type: bytes,
    default: '256MiB',
    doc: 'How many bytes are fetched into the cache ahead of the fastest client that downloads them. Beyond that, the registry waits for the client. At least 1MiB; 0 sets no limit.',
  },
  cacheDir: {
    section: 'cache',
    type: text,
    doc: 'The folder for what can be fetched again. Default: /var/cache/dockerproxy for root, otherwise ~/.cache/dockerproxy.',
    example: '/var/cache/dockerproxy',
  },
  stateDir: {
    section: 'cache',
    type: text,
    doc: 'The folder for what must be kept. Default: /var/lib/dockerproxy for root, otherwise ~/.local/state/dockerproxy.',
    example: '/var/lib/dockerproxy',
  },
  staleIfError: {
    section: 'cache',
    type: duration,
    default: '24h',
    doc: 'For how long a tag’s last known digest stands in for a registry that does not answer; 0s turns it off.',
  },
  source: {
    section: 'engine',
    type: oneOf('registry', 'engine'),
    default: 'registry',
    doc: 'Where images come from: straight from their registries, or from a Docker Engine that pulls and saves them.',
  },
  registries: {
    section: 'engine',
    type: registryTables,
    default: '',
    doc: 'Mirrors of registries, asked in their order before the registry itself; in the file a table for each registry, with mirrors and, for authorities that only these know, ca with paths of PEM files. With --source registry.',
    fileExample: { 'docker.io': { mirrors: ['https://mirror.lan:5000'], ca: ['/etc/dockerproxy/ca.pem'] } },
  },
  certsDir: {
    section: 'engine',
    type: text,
    doc: 'A folder of hosts.toml files as containerd has it, with mirrors, authorities and certificates of registries; read at the start. With --source registry.',
    example: '/etc/containerd/certs.d',
  },
  pull: {
    section: 'engine',
    type: oneOf('always', 'missing', 'never'),
    default: 'always',
    doc: 'When the engine pulls: for each request, only what it does not have, or never. With --source engine.',
  },
  pulls: {
    section: 'engine',
    type: count,
    default: '2',
    doc: 'How many images the engine pulls at once, and how many it saves at once. With --source engine.',
  },
  pullQueue: {
    section: 'engine',
    type: count,
    default: '16',
    doc: 'How many images may wait to be pulled, and as many to be saved; more are refused for a while. With --source engine.',
  },
  engineKeep: {
    section: 'engine',
    type: bytes,
    default: '20GiB',
    doc: 'How many bytes of images that it pulled stay in the engine; others are never removed. With --source engine.',
  },
  redisUrl: {
    section: 'replicas',
    type: redisUrl,
    doc: 'The Redis or Valkey that all replicas share for limits, certificates, and resolved tags. redis://HOST, rediss://USER:PASSWORD@HOST (TLS), redis-sentinel://HOST,HOST/0#MASTER or redis-cluster://HOST,HOST.',
    example: 'rediss-sentinel://redis1.lan,redis2.lan,redis3.lan/0#mymaster',
  },
  redisPasswordFile: {
    section: 'replicas',
    type: text,
    doc: 'A file with the password of that Redis, instead of a password in its URL.',
    example: '/run/credentials/dockerproxy.service/redis-password',
  },
  redisSentinelUser: {
    section: 'replicas',
    type: text,
    doc: 'The user name for Sentinels. Requires REDIS_SENTINEL_PASSWORD_FILE. Default: the user `default`.',
    example: 'dockerproxy',
  },
  redisSentinelPasswordFile: {
    section: 'replicas',
    type: text,
    doc: 'A file with the password of the Sentinels. For Sentinels without a password, use an empty file, such as /dev/null. Default: the user and password of Redis.',
    example: '/run/credentials/dockerproxy.service/redis-sentinel-password',
  },
  redisTlsCaFile: {
    section: 'replicas',
    type: text,
    doc: 'A PEM file with the private certificate authority of Redis and its Sentinels, trusted in addition to those of the system. Requires rediss://.',
    example: '/etc/dockerproxy/redis-ca.pem',
  },
  redisTlsCertFile: {
    section: 'replicas',
    type: text,
    doc: 'A PEM file with the client certificate that Redis requires. Requires rediss://.',
    example: '/run/credentials/dockerproxy.service/redis-client.crt',
  },
  redisTlsKeyFile: {
    section: 'replicas',
    type: text,
    doc: 'A PEM file with the key of that client certificate. Default: REDIS_TLS_CERT_FILE, which then contains both.',
    example: '/run/credentials/dockerproxy.service/redis-client.key',
  },
  redisKeyFile: {
    section: 'replicas',
    type: text,
    doc: 'A file with at least 32 random characters, the same for all replicas. It encrypts the key of the certificate in Redis. Required with --tls acme.',
    example: '/run/credentials/dockerproxy.service/redis-key',
  },
  tagTtl: {
    section: 'replicas',
    type: duration,
    doc: 'For how long nobody asks a registry again what a tag means. Default: 10s with --redis-url, otherwise 0s, which asks for each download.',
    example: '30s',
  },
  operatorName: {
    section: 'page',
    reloads: true,
    type: text,
    doc: 'Who runs this service, as the page names them.',
    example: 'Example Labs',
  },
  operatorContact: {
    section: 'page',
    reloads: true,
    type: contact,
    doc: 'Where the operator can be reached: an e-mail address or an https:// URL, shown by the page.',
    example: 'images@example.org',
  },
  searchUrl: {
    section: 'page',
    type: urlOrOff,
    default: 'https://hub.docker.com/v2/search/repositories/',
    doc: 'Where the page finds repositories as one types: the search of Docker Hub, or what answers as it does, and so learns what is typed; off turns it off.',
  },
  logLevel: {
    section: 'watching',
    reloads: true,
    type: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    doc: 'How much is logged.',
  },
  metricsPort: {
    section: 'watching',
    type: portOrOff,
    default: 'off',
    doc: 'The port to serve metrics for Prometheus on, at /metrics; 0 takes any free one.',
  },
  metricsHost: {
    section: 'watching',
    type: text,
    default: '127.0.0.1',
    doc: 'The address to serve metrics on; what they tell is nobody else’s business.',
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
  | 'tlsCertFile'
  | 'tlsKeyFile'
  | 'operatorName'
  | 'operatorContact';

/** The settings in force; of those that have no default, what was not given is undefined. */
export type Config = Omit<Values, Optional> & { readonly [Name in Optional]: Values[Name] | undefined };

/** The settings as they were given, before those whose default depends on others are settled. */
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
