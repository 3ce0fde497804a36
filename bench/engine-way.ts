import { startDockerd } from '../test/support/engines.ts';
import { whyNot } from '../test/support/packages.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { curl } from './curl.ts';
import { diskBytes } from './disk.ts';
import { archiveUrl, cacheFolder, startOverTls } from './dockerproxy-over-tls.ts';
import { measureServer } from './measure-server.ts';
import { residentBytes, startMeter } from './server-meter.ts';
import type { Stage } from './stage.ts';
import type { Measurement, Way } from './ways.ts';

/** DockerProxy with an engine as its source: pull and save the first time, what it has spooled the next. */
export function engineWay(stage: Stage): Way {
  return {
    ids: ['dockerproxy-engine', 'dockerproxy-engine-again'],
    absent: whyNot('dockerd'),
    repetitions: 1,
    measure: () => measureEngine(stage),
  };
}

async function measureEngine(stage: Stage): Promise<Measurement[]> {
  const { registry, signal, image, certificate } = stage;
  await using engine = await startDockerd({ insecureRegistries: [registry.host] });
  await using folder = await temporaryFolder();
  const env = { DOCKERPROXY_SOURCE: 'engine', DOCKER_HOST: engine.dockerHost };
  await using proxy = await startOverTls(stage, folder, env);
  const server = { pid: proxy.pid, idleBytes: proxy.memory() };
  const measure = async (id: Measurement['id']): Promise<Measurement> => {
    const engineCost = startMeter(engine.pid, residentBytes(engine.pid));
    const { figures, details } = await measureServer(server, image.bytes, () =>
      curl([archiveUrl(proxy, registry, image)], { signal, certificate: certificate.certificate }),
    );
    const { cpuSeconds: engineSeconds } = engineCost();
    return {
      id,
      figures: {
        ...figures,
        cpuSeconds: (figures.cpuSeconds ?? 0) + engineSeconds,
        diskBytes: await diskBytes(cacheFolder(folder)),
      },
      details,
    };
  };
  return [await measure('dockerproxy-engine'), await measure('dockerproxy-engine-again')];
}
