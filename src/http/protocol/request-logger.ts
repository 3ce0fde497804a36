import type { FastifyBaseLogger } from 'fastify';

type Child = Parameters<FastifyBaseLogger['child']>;

/**
 * The logger of one request. It creates its child of the server's logger only for the first line, because most requests
 * log nothing.
 */
export class RequestLogger implements FastifyBaseLogger {
  readonly #parent: FastifyBaseLogger;
  readonly #bindings: Child[0];
  readonly #options: Child[1];
  #made: FastifyBaseLogger | undefined;

  constructor(parent: FastifyBaseLogger, bindings: Child[0], options: Child[1]) {
    this.#parent = parent;
    this.#bindings = bindings;
    this.#options = options;
  }

  get #own(): FastifyBaseLogger {
    this.#made ??= this.#parent.child(this.#bindings, this.#options);
    return this.#made;
  }

  get level(): FastifyBaseLogger['level'] {
    return this.#own.level;
  }

  child(...child: Child): FastifyBaseLogger {
    return this.#own.child(...child);
  }

  fatal(...line: Parameters<FastifyBaseLogger['fatal']>): void {
    this.#own.fatal(...line);
  }

  error(...line: Parameters<FastifyBaseLogger['error']>): void {
    this.#own.error(...line);
  }

  warn(...line: Parameters<FastifyBaseLogger['warn']>): void {
    this.#own.warn(...line);
  }

  info(...line: Parameters<FastifyBaseLogger['info']>): void {
    this.#own.info(...line);
  }

  debug(...line: Parameters<FastifyBaseLogger['debug']>): void {
    this.#own.debug(...line);
  }

  trace(...line: Parameters<FastifyBaseLogger['trace']>): void {
    this.#own.trace(...line);
  }

  silent(...line: Parameters<FastifyBaseLogger['silent']>): void {
    this.#own.silent(...line);
  }
}
