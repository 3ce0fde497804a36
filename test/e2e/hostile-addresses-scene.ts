import { after, before, suite } from 'node:test';
import { challenging, flooding, raw, redirecting } from '../support/hostile-registry.ts';
import { broken, type HostileBed, type How, refused, startHostileBed, withLayer } from './hostile-bed.ts';

const INSIDE = [
  '127.0.0.1',
  '127.1',
  '0x7f000001',
  '2130706433',
  '017700000001',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:10.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  '[fe80::1]',
  '169.254.169.254',
  '10.0.0.1',
  '100.64.0.1',
  '0.0.0.0',
  // A name that resolves there.
  'localhost',
];

suite('a registry that leads astray', { concurrency: 8, timeout: 180_000 }, () => {
  let bed: HostileBed;
  const failed = (title: string, how: How): void => refused(() => bed, title, 502, 'registry-failed', how);
  const forbidden = (title: string, how: How): void => refused(() => bed, title, 403, 'address-refused', how);

  before(async () => {
    bed = await startHostileBed();
  });
  after(() => bed.close());

  for (const host of INSIDE) {
    for (const scheme of ['http', 'https']) {
      const target = (): string => `${scheme}://${host}:${bed.inside}/latest/meta-data`;
      forbidden(`a redirect to ${scheme}://${host}`, () => ({ manifest: redirecting(target()) }));
      forbidden(`a realm at ${scheme}://${host}`, () => ({ manifest: challenging(target()) }));
    }
    broken(
      () => bed,
      `a layer that is redirected to ${host}`,
      () => ({
        layer: redirecting(`https://${host}:${bed.inside}/`),
      }),
    );
    broken(
      () => bed,
      `a foreign layer at ${host}`,
      (honest) => ({
        manifest: withLayer(honest, {
          mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
          urls: [`https://${host}:${bed.inside}/`, `http://${host}:${bed.inside}/`, 'file:///etc/passwd'],
        }),
        layer: (_request, response) => void response.writeHead(404).end(),
      }),
    );
  }
  for (const target of [
    'file:///etc/passwd',
    'gopher://127.0.0.1/',
    'data:,x',
    'javascript:1',
    'ftp://a.example/',
  ]) {
    forbidden(`a redirect to ${target}`, () => ({ manifest: redirecting(target) }));
    forbidden(`a realm at ${target}`, () => ({ manifest: challenging(target) }));
  }
  forbidden('a redirect on the second hop', () => {
    bed.registry.at('/second', redirecting(`http://127.0.0.1:${bed.inside}/`));
    return { manifest: redirecting('/second') };
  });

  failed('redirects in a circle', () => {
    bed.registry.at('/circle', redirecting('/circle'));
    return { manifest: redirecting('/circle') };
  });
  failed('redirects without end', () => {
    let step = 0;
    bed.registry.at('/chain', (request, response) => redirecting(`/chain?${step++}`)(request, response));
    return { manifest: redirecting('/chain') };
  });
  failed('a redirect to nowhere', () => ({ manifest: redirecting('http://') }));
  failed('a redirect with a flood behind it', () => {
    bed.registry.at('/behind', raw(''));
    return { manifest: flooding(Number.POSITIVE_INFINITY, { location: '/behind' }, 307) };
  });
});
