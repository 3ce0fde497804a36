import type { AcmeAccount } from '../../stores/certificate-store.ts';
import { storesFrom, threadPort } from '../thread-stores.ts';

/** A key pair as greenlock makes it, of which the JSON Web Key is enough. */
interface Keypair {
  readonly privateKeyJwk: object;
}

interface Issued {
  readonly cert: string;
  readonly chain: string;
}

export interface GreenlockStoreOptions {
  readonly directoryUrl: string;
}

/**
 * greenlock's view of the certificate store. The account is in it, so that its key is kept and used again. The
 * certificate is in memory only: the server shows it first and saves it then, whatever the state of its store.
 */
export function create({ directoryUrl }: GreenlockStoreOptions) {
  const { accounts } = storesFrom(threadPort());
  let account: AcmeAccount | undefined;
  let certificateKey: Keypair | undefined;
  let issued: Issued | undefined;

  // greenlock counts the parameters of a function. With one more, it would pass a callback.
  return {
    accounts: {
      async check() {
        account = await accounts.account(directoryUrl);
        if (account?.url === undefined) return null;
        return { keypair: { privateKeyJwk: account.key }, key: { kid: account.url } };
      },
      async checkKeypair() {
        return account === undefined ? null : { privateKeyJwk: account.key };
      },
      async setKeypair(_query: object, { privateKeyJwk: key }: Keypair) {
        account = { key, url: undefined };
        await accounts.putAccount(directoryUrl, account);
        return null;
      },
      async set(_query: object, { keypair, kid: url }: { keypair: Keypair; kid: string }) {
        account = { key: keypair.privateKeyJwk, url };
        await accounts.putAccount(directoryUrl, account);
        return null;
      },
    },
    certificates: {
      async check() {
        return issued ?? null;
      },
      async checkKeypair() {
        return certificateKey ?? null;
      },
      async setKeypair({ keypair }: { keypair: Keypair }) {
        certificateKey = keypair;
        return null;
      },
      async set({ pems }: { pems: Issued }) {
        issued = pems;
        return null;
      },
    },
  };
}
