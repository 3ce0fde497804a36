/** `npm run demo`: a registry with one image and DockerProxy in front of it, until Ctrl-C. */
import { once } from 'node:events';
import { startDockerProxy } from './dockerproxy.ts';
import { index } from './images.ts';
import { skipUnless } from './packages.ts';
import { push } from './push.ts';
import { startRegistry } from './registry.ts';
import { reservePort } from './reserve-port.ts';
import { busyboxImage } from './standard-images.ts';

const usualPort = 8080;

async function main(): Promise<void> {
  const reason = skipUnless('docker-registry', 'busybox-amd64', 'busybox-arm64');
  if (reason !== false) {
    console.log(`The demo needs a registry with an image in it, but ${reason}.`);
    process.exitCode = 1;
    return;
  }
  // Registered before anything starts, so that Ctrl-C always runs the cleanup below.
  const interrupted = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')]);
  await using registry = await startRegistry();
  const images = [await busyboxImage('amd64'), await busyboxImage('arm64')];
  await push(registry.url, 'library/busybox', 'latest', index(images, { attestations: true }));
  await using proxy = await startDockerProxy({
    env: {
      DOCKERPROXY_PORT: String(await reservePort('127.0.0.1', usualPort).catch(() => 0)),
      DOCKERPROXY_ALLOW: `${registry.host}/**`,
      DOCKERPROXY_INSECURE_REGISTRIES: registry.host,
      DOCKERPROXY_LOG_LEVEL: 'info',
    },
  });
  console.log(welcome(proxy.url, `${registry.host}/library/busybox`));
  const ended = proxy.exited.then(() => `DockerProxy has ended.\n${proxy.stderr()}`);
  console.log(await Promise.race([interrupted.then(() => '\nStopping.'), ended]));
}

function welcome(url: string, repository: string): string {
  return `
DockerProxy runs at ${url} (open it in a browser), and its registry holds one image, ${repository}.

Fetch it as a file:

    wget --content-disposition '${url}/dl?myimage=${repository}'

Load it and run it, where there is a Docker engine:

    docker load -i busybox.tar
    docker run --rm --network=none ${repository} echo it works

The same for another processor, or straight into the engine:

    wget --content-disposition '${url}/dl?myimage=${repository}&platform=linux/arm64'
    wget -qO- '${url}/dl?myimage=${repository}' | docker load

Ctrl-C stops everything and leaves nothing behind.
`;
}

await main();
