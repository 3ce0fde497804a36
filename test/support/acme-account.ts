import { createPrivateKey, type JsonWebKey, sign } from 'node:crypto';
import type { AcmeProxy } from './acme-proxy.ts';
import { httpCall } from './http-request.ts';
import { waitFor } from './wait-for.ts';

/** The stored form of an account. */
export interface Account {
  url: string;
  key: JsonWebKey;
}

/** Deactivates an account, as its owner can by any client. */
export async function deactivate(
  { directory }: Pick<AcmeProxy, 'directory'>,
  { url, key }: Account,
): Promise<void> {
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const origin = new URL(directory).origin;
  const privateKey = createPrivateKey({ key, format: 'jwk' });
  await waitFor(
    async () => {
      // pebble of 2026 refuses clients without a User-Agent.
      const client = { 'user-agent': 'test' };
      const { headers } = await httpCall(`${origin}/nonce-plz`, { headers: client });
      const nonce = headers['replay-nonce'];
      const head = {
        protected: base64({ alg: 'ES256', kid: url, url, nonce }),
        payload: base64({ status: 'deactivated' }),
      };
      const signed = Buffer.from(`${head.protected}.${head.payload}`);
      const signature = sign('sha256', signed, { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString(
        'base64url',
      );
      const body = Buffer.from(JSON.stringify({ ...head, signature }));
      const type = { 'content-type': 'application/jose+json', ...client };
      return (await httpCall(url, { method: 'POST', headers: type, body })).status === 200;
    },
    { what: 'the account to be deactivated' },
  );
}
