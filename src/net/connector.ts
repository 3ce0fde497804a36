import type { LookupFunction } from 'node:net';
// undici's index would load 85 more files, including fetch and WebSocket, which takes 60 ms and 14 MB.
import buildConnector from 'undici/lib/core/connect.js';
import type { ServiceError } from '../errors.ts';
import { type HostTls, PLAIN_TLS } from '../oci/registry-host.ts';
import { nodeTls } from '../util/builtins.ts';
import { trustSystemAuthorities } from '../util/system-authorities.ts';
import type { Guard } from './guard.ts';
import type { Lookup } from './name-lookup.ts';
import type { ReadBuffers } from './read-buffers.ts';

/**
 * Connects only to checked addresses: the lookup hook returns the addresses that it checked. Literal addresses need no
 * lookup and were checked with the URL.
 */
export function connectorFor(
  lookup: Lookup,
  options: buildConnector.BuildOptions,
  { onread, onreadTls }: Pick<ReadBuffers, 'onread' | 'onreadTls'>,
  check: Guard['checkAddresses'],
  tls: HostTls | undefined,
): buildConnector.connector {
  const hook: LookupFunction = (hostname, { all }, callback) => {
    const fail = (error: NodeJS.ErrnoException): void => callback(error, []);
    lookup(hostname).then((addresses) => {
      try {
        check(hostname, addresses);
      } catch (error) {
        return fail(error as ServiceError);
      }
      const [first] = addresses;
      // An empty list would go unnoticed until the connection reads its first address, outside any handler.
      if (first === undefined) return fail(Object.assign(new Error('No address'), { code: 'ENOTFOUND' }));
      if (all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    }, fail);
  };
  const shared = { ...options, allowH2: false, autoSelectFamily: true, lookup: hook };
  const plain = buildConnector({ ...shared, onread });
  let secure: buildConnector.connector | undefined;
  return (target, callback) => {
    if (target.protocol !== 'https:') return plain(target, callback);
    try {
      secure ??= buildConnector({ ...shared, onread: onreadTls, ...tlsOptions(tls) });
    } catch (error) {
      return callback(error as Error, null);
    }
    secure(target, callback);
  };
}

/**
 * Returns the TLS options for a host. As in containerd and Docker, its own authorities are trusted in addition to the
 * default ones, which include those of the system. The list is parsed here once, not for each connection.
 */
export function tlsOptions({ authorities, certificate, key, skipVerify }: HostTls = PLAIN_TLS) {
  trustSystemAuthorities();
  const { createSecureContext, getCACertificates } = nodeTls();
  const isOwn = authorities.length > 0 || certificate !== undefined;
  const ca = authorities.length > 0 ? [...getCACertificates('default'), ...authorities] : undefined;
  const cert = certificate && { cert: certificate, key: key ?? certificate };
  return {
    ...(isOwn && { secureContext: createSecureContext({ ...(ca && { ca }), ...cert }) }),
    ...(skipVerify && { rejectUnauthorized: false }),
  };
}
