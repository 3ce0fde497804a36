import type { Setting } from '../setting.ts';
import { addressRange, bytes, countOrNone, listOf, oneOf, rate, text } from '../types.ts';

/** The clients that the service answers, and their limits. */
export const CLIENTS = {
  allowClients: {
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Clients that may use the service, as addresses or ranges in CIDR notation. If empty, all clients may.',
    example: '192.0.2.0/24,2001:db8::/32',
  },
  denyClients: {
    reloads: true,
    type: listOf(addressRange),
    default: '',
    doc: 'Clients that may not use the service, as addresses or ranges in CIDR notation. Overrides ALLOW_CLIENTS.',
    example: '192.0.2.7',
  },
  allowClientsFile: {
    reloads: true,
    type: text,
    doc: 'File with more addresses for ALLOW_CLIENTS, one per line. # starts a comment.',
    example: '/etc/dockerproxy/allow-clients',
  },
  denyClientsFile: {
    reloads: true,
    type: text,
    doc: 'File with more addresses for DENY_CLIENTS, one per line. # starts a comment.',
    example: '/etc/dockerproxy/deny-clients',
  },
  rateLimit: {
    type: rate,
    default: '60/minute',
    doc: 'Maximum rate of requests for downloads and the API per client, including failed requests. 0 sets no limit. A client is an IPv4 address or an IPv6 /64.',
  },
  pageRateLimit: {
    type: rate,
    default: '600/minute',
    doc: 'Maximum rate of all other requests per client, such as those for pages, their assets, and problem pages. 0 sets no limit.',
  },
  downloadsPerIp: {
    type: countOrNone,
    default: '4',
    doc: 'Maximum number of simultaneous downloads per client. A download counts once, regardless of its number of connections. 0 sets no limit.',
  },
  connectionsPerDownload: {
    type: countOrNone,
    default: '32',
    doc: 'Maximum number of connections of one client for one download, in each worker. 0 sets no limit.',
  },
  maxDownloads: {
    type: countOrNone,
    default: '1000',
    doc: 'Maximum number of simultaneous downloads of all clients together. 0 sets no limit.',
  },
  dailyBytes: {
    type: bytes,
    default: '100GiB',
    doc: 'Maximum number of bytes per client in 24 hours. Bytes count when they are sent to the client or fetched into the cache for it, whichever is first. A download that has started may finish. 0 sets no limit.',
  },
  bandwidthPerIp: {
    type: bytes,
    default: '0',
    doc: 'Maximum transfer rate of a client in bytes per second, over all its connections to a process. 0 sets no limit.',
  },
  limitsStore: {
    type: oneOf('sqlite', 'memory'),
    default: 'sqlite',
    doc: 'Storage of the counters of all limits. sqlite is a file in STATE_DIR, shared by all processes. memory is separate in each process. sqlite keeps the counters across restarts. With --redis-url, used only during an outage of Redis.',
  },
} as const satisfies Record<string, Setting<unknown>>;
