import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import type { Certificate } from './certificate.ts';

/**
 * Excludes ciphers without forward secrecy or authentication, and those that only clients before 2014 need.
 *
 * @see https://wiki.mozilla.org/Security/Server_Side_TLS, "intermediate", without DHE
 */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/**
 * How the server speaks TLS with a certificate. Each certificate brings fresh keys for session tickets, so that a
 * renewal changes them, too.
 */
export function secureContextOptions({ cert, key, ticketKeys }: Certificate): SecureContextOptions {
  return {
    cert,
    key,
    ...(ticketKeys && { ticketKeys }),
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    // Node lets a TLS 1.2 client renegotiate three times, which costs the server work without benefit.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
  };
}
