import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from 'pino';
import { nodeHttp } from '../../util/builtins.ts';
import type { ListenAt } from './listen-at.ts';

export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

/** Serves `GET /metrics` on a separate listener, because metrics are only for the operator. */
export interface MetricsServer {
  /** @throws Error the listener's addresses, with `code`, `address` and `port` */
  listen(at: ListenAt): Promise<void>;
  /** Closes all connections immediately. */
  close(): Promise<void>;
}

/** Creates the server without Fastify, which a primary process would load only for this. */
export function createMetricsServer(metrics: MetricsPage, logger: Logger): MetricsServer {
  const answer: RequestListener = async ({ url = '', method = '' }, response) => {
    if (!/^\/metrics(?:\?|$)/.test(url) || !['GET', 'HEAD'].includes(method)) {
      response.writeHead(404).end();
      return;
    }
    try {
      const text = await metrics.text();
      response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
    } catch (err) {
      logger.error({ err }, 'Cannot collect metrics');
      response.writeHead(500).end();
    }
  };
  const server = nodeHttp().createServer(answer);
  return {
    async listen(at) {
      await once(server.listen(at), 'listening');
      const { address, family, port } = server.address() as AddressInfo;
      const host = family === 'IPv6' ? `[${address}]` : address;
      logger.info(`Metrics are at http://${host}:${port}/metrics`);
    },
    async close() {
      if (!server.listening) return;
      server.close().closeAllConnections();
      await once(server, 'close');
    },
  };
}
