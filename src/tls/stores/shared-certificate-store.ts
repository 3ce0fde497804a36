import type { CertificateStore } from './certificate-store.ts';

/** A store that replicas share, with a local copy on each for outages. */
export interface SharedCertificateStore extends CertificateStore {
  /** Copies missing texts to the shared store, for example if it is new or was reset. */
  fill(authority: string): Promise<void>;
}

/**
 * Keeps two copies. The shared store is authoritative, even if it is empty. If it cannot be read, the local copy
 * counts. If it cannot be written, the write fails, because other processes would repeat the work.
 */
export function createSharedCertificateStore(
  shared: CertificateStore,
  own: CertificateStore,
): SharedCertificateStore {
  let copied: string | undefined;
  const here = async <T>(read: (store: CertificateStore) => Promise<T>): Promise<T> => {
    try {
      return await read(shared);
    } catch {
      return read(own);
    }
  };
  const twice = async (write: (store: CertificateStore) => Promise<void>): Promise<void> => {
    await write(own);
    await write(shared);
  };
  return {
    async certificate(authority) {
      const found = await here((store) => store.certificate(authority));
      if (found !== undefined && found.fingerprint !== copied) {
        // The local copy lets this replica start alone. A failure to write it is harmless.
        await own.putCertificate(authority, found).catch(() => {});
        copied = found.fingerprint;
      }
      return found;
    },
    putCertificate: (authority, certificate) =>
      twice((store) => store.putCertificate(authority, certificate)),
    account: (authority) => here((store) => store.account(authority)),
    putAccount: (authority, account) => twice((store) => store.putAccount(authority, account)),
    attempts: (authority) => here((store) => store.attempts(authority)),
    putAttempts: (authority, attempts) => twice((store) => store.putAttempts(authority, attempts)),
    failure: (authority) => here((store) => store.failure(authority)),
    putFailure: (authority, failure) => twice((store) => store.putFailure(authority, failure)),
    suggestion: (authority) => here((store) => store.suggestion(authority)),
    putSuggestion: (authority, suggestion) => twice((store) => store.putSuggestion(authority, suggestion)),
    // Only in the shared store, because one replica takes the request for all.
    request: (authority) => shared.request(authority),
    putRequest: (authority, at) => shared.putRequest(authority, at),
    async fill(authority) {
      const [account, certificate] = [await own.account(authority), await own.certificate(authority)];
      if (account !== undefined && (await shared.account(authority)) === undefined)
        await shared.putAccount(authority, account);
      if (certificate !== undefined && (await shared.certificate(authority)) === undefined)
        await shared.putCertificate(authority, certificate);
    },
  };
}
