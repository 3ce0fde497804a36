import type { FastifyReply, FastifyRequest } from 'fastify';
import { type Addresses, ownAddress } from '../protocol/own-address.ts';
import { parseRegistryPath } from './path.ts';

/** The path below `/v2/` at which clients exchange credentials for a token. */
export const TOKEN_PATH = 'token';
/** Seconds. Clients then send their credentials again. */
const LIFETIME_S = 300;

/**
 * Asks a client for a token. A Basic challenge would stop clients without credentials, which get an anonymous token here,
 * as at Docker Hub.
 *
 * @param path the requested path below `/v2/`
 * @see https://distribution.github.io/distribution/spec/auth/token/
 */
export function challengeForToken(
  request: FastifyRequest,
  reply: FastifyReply,
  path: string,
  addresses: Addresses,
): void {
  const { origin } = ownAddress(request, addresses) ?? {};
  if (origin === undefined) return;
  const { name } = parseRegistryPath(path) ?? {};
  const scope = name !== undefined && /^[\w./-]+$/.test(name) ? `,scope="repository:${name}:pull"` : '';
  const realm = `realm="${origin}/v2/${TOKEN_PATH}",service="${new URL(origin).host}"`;
  reply.header('www-authenticate', `Bearer ${realm}${scope}`);
}

/**
 * Sends the token for the credentials of a request. The token is these credentials in another form, so that the service
 * stores nothing, and any replica takes it.
 */
export function replyWithToken({ credentials }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const token = credentials?.token() ?? '';
  return reply
    .header('cache-control', 'private, no-store')
    .send({ token, expires_in: LIFETIME_S, issued_at: new Date().toISOString() });
}
