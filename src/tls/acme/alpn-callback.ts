import type { TLSSocket } from 'node:tls';
import { nodeTls } from '../../util/builtins.ts';
import { makeSelfSigned } from '../self-signed.ts';
import type { AlpnChallenge } from '../stores/alpn-challenge-store.ts';
import { digestOf } from './challenge.ts';

export interface AlpnOffer {
  /** False if the client states none. */
  readonly servername: string | false;
  readonly protocols: readonly string[];
}

/** Selects the protocol of a TLS connection; undefined refuses the connection. */
export type AlpnCallback = (this: TLSSocket, offer: AlpnOffer) => string | undefined;

/** @see https://www.rfc-editor.org/rfc/rfc8737#section-6.2 */
const ACME_TLS = 'acme-tls/1';
const HTTP = 'http/1.1';
const DAY_MS = 86_400_000;

/**
 * Answers TLS-ALPN-01 challenges beside HTTP. A connection that offers `acme-tls/1` for a name with a challenge gets the
 * certificate of that challenge, and is closed after the handshake. All others get the certificate of the server.
 *
 * @param find the challenge of a server name. It is synchronous, because OpenSSL asks during the handshake.
 * @see https://www.rfc-editor.org/rfc/rfc8737#section-3
 */
export function createAlpnCallback(
  find: (servername: string) => AlpnChallenge | undefined,
  now: () => number,
): AlpnCallback {
  return function select({ servername, protocols }) {
    if (!protocols.includes(ACME_TLS)) return protocols.includes(HTTP) ? HTTP : undefined;
    // An error here could end the process.
    const challenge = servername === false ? undefined : find(servername);
    if (challenge === undefined) return undefined;
    const { cert, key } = makeSelfSigned({
      names: [challenge.name],
      notBefore: now() - DAY_MS,
      notAfter: now() + DAY_MS,
      acmeIdentifier: digestOf(challenge.keyAuthorization),
    });
    this.setKeyCert(nodeTls().createSecureContext({ cert, key }));
    this.once('secure', () => this.destroySoon());
    return ACME_TLS;
  };
}
