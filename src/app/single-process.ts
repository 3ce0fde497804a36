import type { Config } from '../config/schema.ts';
import type { PassedSockets } from '../systemd/sockets.ts';
import { createApp } from './app.ts';
import { createCertificates } from './certificates.ts';
import type { Environment } from './environment.ts';
import type { Service } from './service.ts';
import { openSharedRedis, startWith } from './shared-redis.ts';

/**
 * The service in one process.
 *
 * @throws ConfigError if a file that the settings name cannot be read
 */
export async function createSingle(
  config: Config,
  environment: Environment,
  sockets: PassedSockets,
): Promise<Service> {
  const redis = await openSharedRedis(config, environment.logger);
  const { certificates, app } = await startWith(redis, async () => {
    const provided = await createCertificates(config, environment, redis);
    return {
      certificates: provided,
      app: await createApp(config, environment, { certificates: provided, redis }),
    };
  });
  return {
    listen: () => app.listen(sockets),
    isServing: () => true,
    reload: (fresh) => app.reload(fresh),
    reloadCertificate: () => certificates.provider.reload(),
    async close() {
      await app.close();
      await redis?.close();
    },
    kill() {},
  };
}
