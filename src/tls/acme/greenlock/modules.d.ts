/** The used parts of packages without types. */

declare module 'greenlock' {
  interface Certificates {
    readonly cert: string;
    readonly chain: string;
    readonly privkey: string;
  }
  interface Greenlock {
    order(site: { readonly subject: string; readonly altnames: readonly string[] }): Promise<Certificates>;
  }
  const greenlock: { create(options: object): Greenlock };
  export = greenlock;
}

declare module '@root/greenlock/lib/rc.js' {
  const rc: { _initSync(folder: string, manager: object, configDir: string): object };
  export = rc;
}

declare module '@root/greenlock/utils.js' {
  const utils: { _attachCertInfo(pems: object): object };
  export = utils;
}

declare module '@root/acme' {
  interface Acme {
    skipDryRun?: boolean;
    skipChallengeTest?: boolean;
    retryPoll?: number;
    retryInterval?: number;
    retryPending?: number;
    __request?: (
      request: import('../transport.ts').AcmeRequest,
    ) => Promise<import('../transport.ts').AcmeResponse>;
  }
  const acme: { create(options: Acme): Acme; _wait(milliseconds?: number): Promise<void> };
  export = acme;
}

declare module '@root/acme/utils.js' {
  interface SignedRequest {
    /** A JSON Web Key. */
    accountKey: object;
    url: string;
    protected: object;
    payload: string | Uint8Array;
    _retries?: number;
  }
  const utils: {
    _jwsRequest(acme: object, request: SignedRequest): Promise<import('../transport.ts').AcmeResponse>;
    _setNonce(acme: object, nonce: string): void;
  };
  export = utils;
}

declare module '@root/csr' {
  interface RequestOptions {
    readonly jwk: import('node:crypto').JsonWebKey;
    readonly domains: readonly string[];
  }
  const csr: {
    csr(options: RequestOptions): Promise<Uint8Array>;
    _info(csr: Uint8Array | string): { subject: string; altnames: readonly string[] };
  };
  export = csr;
}

declare module '@root/acme/maintainers.js' {
  const maintainers: { init(acme: object): void };
  export = maintainers;
}
