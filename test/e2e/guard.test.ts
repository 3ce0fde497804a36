import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { skipUnless } from '../support/packages.ts';
import { runOrThrow } from '../support/process.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const SCENE = join(import.meta.dirname, 'guard-scene.ts');

/**
 * Separate namespaces for the network and for mounts keep all traffic on this machine. DockerProxy runs in a second
 * network namespace, which reaches only the first one, and has a public address.
 */
const STAGE = `
  ip link set lo up
  ip address add 9.9.9.9/32 dev lo
  ip address add 10.0.0.1/32 dev lo
  mount --bind "$1/hosts" /etc/hosts
  unshare --net sleep 300 >/dev/null &
  other=$!
  trap 'kill $other' EXIT
  until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
  ip link add here type veth peer name there netns $other
  ip address add 192.0.2.1/30 dev here
  ip link set here up
  nsenter --net=/proc/$other/ns/net sh -e -c '
    ip link set lo up
    ip address add 192.0.2.2/30 dev there
    ip address add 9.9.9.8/32 dev there
    ip link set there up
    ip route add default via 192.0.2.1
  '
  "$2" "$3" "$1" /proc/$other/ns/net
`;

suite('the guard, in a network with internal and public addresses', {
  skip: skipUnless('namespaces', 'openssl'),
  timeout: 600_000,
}, () => {
  test('public addresses are fetched and internal ones are not, whatever points to them', async () => {
    await using folder = await temporaryFolder();
    await writeFile(join(folder.path, 'hosts'), '');
    const names = ['public.test', 'inside.test', 'both.test', 'rebound.test'].map((name) => `DNS:${name}`);
    await runOrThrow('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
      ...['-subj', '/CN=test', '-addext', `subjectAltName=${[...names, 'IP:9.9.9.9', 'IP:10.0.0.1'].join()}`],
      ...['-keyout', join(folder.path, 'key.pem'), '-out', join(folder.path, 'cert.pem')],
    ]);
    const stage = [
      '--net',
      '--mount',
      'sh',
      '-e',
      '-c',
      STAGE,
      'stage',
      folder.path,
      process.execPath,
      SCENE,
    ];
    const { stdout } = await runOrThrow('unshare', stage, { timeout: 100_000 });
    assert.deepEqual(JSON.parse(stdout), {
      outcomes: {
        'a public registry, by its name': 'whole',
        'a public registry, by its address': 'whole',
        'a registry inside, by its name': 'address-refused',
        'a registry inside, by its address': 'address-refused',
        'a name for both': 'address-refused',
        'this machine itself, by its name': 'address-refused',
        'this machine itself, by its public address': 'address-refused',
        'a redirect to the inside': 'address-refused',
        'a redirect to a listed registry': 'address-refused',
        'a realm at a listed registry': 'address-refused',
        'a foreign layer at a listed registry': 'address-refused',
        'a name that is public at first': 'whole',
        'and inside afterwards': 'address-refused',
        'the listed registry itself': 'whole',
      },
      visits: 0,
    });
  });
});
