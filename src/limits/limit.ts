/** A limit that is set, as the service states it in RateLimit-Policy and at `/api/v1/limits`. */
export interface Limit<Kind extends LimitKind = LimitKind> {
  readonly name: Kind['name'];
  /**
   * Returns the item of RateLimit-Policy: `"requests";q=60;w=60`.
   *
   * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-10#section-3
   */
  policyHeader(): string;
  /** Returns the maximum and the use of a client. */
  status(client: string): Promise<Readonly<Record<keyof Kind['members'], number>>>;
}

/** The documentation of a limit and of its status. */
export interface LimitKind {
  readonly name: string;
  readonly description: string;
  /** The members of a status, each a whole number, and their descriptions. */
  readonly members: Readonly<Record<string, string>>;
}
