import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { httpCall } from '../test/support/http-request.ts';
import { spawnUntil } from '../test/support/process.ts';
import { reservePort } from '../test/support/reserve-port.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import type { Certificate } from './certificate.ts';
import { residentBytes } from './server-meter.ts';

export interface NginxOptions {
  certificate: Certificate;
  /** The origin that /v2/ is passed to. */
  registryUrl: string;
}

export interface Nginx extends AsyncDisposable {
  url: string;
  pid: number;
  /** Resident bytes of all its processes before the first request. */
  idleBytes: number;
  /** The folder of its files. */
  root: string;
  /** The folder of the responses that it stores. */
  cache: string;
}

/** Debian's nginx as a process of our own, which ends with us; the system's service is not touched. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  const folder = await temporaryFolder();
  const [root, cache] = [join(folder.path, 'root'), join(folder.path, 'cache')];
  for (const path of [root, cache]) await mkdir(path);
  const port = await reservePort();
  const url = `https://127.0.0.1:${port}`;
  const configFile = join(folder.path, 'nginx.conf');
  await writeFile(configFile, configuration(options, folder.path, { root, cache }, port));
  const answers = () => httpCall(url).then(Boolean, () => false);
  const args = ['-p', folder.path, '-c', configFile, '-e', 'stderr'];
  const running = await spawnUntil('nginx', args, answers).catch(async (error) => {
    await folder[Symbol.asyncDispose]();
    throw error;
  });
  return {
    url,
    pid: running.pid,
    idleBytes: residentBytes(running.pid),
    ...{ root, cache },
    [Symbol.asyncDispose]: async () => {
      await running.stop();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Debian's defaults, including buffers, with TLS 1.3 like DockerProxy. */
function configuration(
  options: NginxOptions,
  folder: string,
  { root, cache }: Pick<Nginx, 'root' | 'cache'>,
  port: number,
): string {
  const { certificate, registryUrl } = options;
  // Workers of root would switch to another user, which cannot read our temporary folder. For other users, nginx
  // ignores this line.
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  return `
    ${user}
    daemon off;
    worker_processes auto;
    pid ${join(folder, 'nginx.pid')};
    events { worker_connections 768; }
    http {
      ${temporary.join('\n      ')}
      access_log off;
      sendfile on;
      tcp_nopush on;
      proxy_cache_path ${cache} keys_zone=blobs:1m use_temp_path=off;
      server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${certificate.certificate};
        ssl_certificate_key ${certificate.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location /v2/ { proxy_pass ${registryUrl}; }
        location /stored/v2/ { proxy_pass ${registryUrl}/v2/; proxy_cache blobs; proxy_cache_valid 200 1h; }
        location / { root ${root}; }
      }
    }
  `;
}
