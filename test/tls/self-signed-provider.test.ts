import assert from 'node:assert/strict';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setImmediate as settle } from 'node:timers/promises';
import { type Certificate, isFor } from '../../src/tls/certificate.ts';
import { createSelfSignedProvider } from '../../src/tls/self-signed-provider.ts';
import { type CertificateStore, createDiskStore } from '../../src/tls/stores/certificate-store.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts';

const DAY_MS = 86_400_000;

async function open(
  folder: TemporaryFolder,
  names: readonly string[],
  parts: Partial<CertificateStore> = {},
  neededNames = names,
) {
  const made: Certificate[] = [];
  const unsaved: string[] = [];
  const provider = await createSelfSignedProvider({
    names,
    neededNames,
    store: { ...createDiskStore({ folder: join(folder.path, 'tls'), onDamage: () => {} }), ...parts },
    now: Date.now,
    random: () => 0.5,
    log: { made: (certificate) => made.push(certificate), unsaved: ({ message }) => unsaved.push(message) },
  });
  return { provider, made, unsaved };
}

/** Advances the clock by days, hour by hour, and waits for the work that this starts. */
async function pass({ mock }: TestContext, days: number, isOver: () => boolean): Promise<void> {
  for (let hour = 0; hour < days * 24; hour += 1) mock.timers.tick(DAY_MS / 24);
  while (!isOver()) await settle();
}

suite('a certificate of our own', { timeout: 600_000 }, () => {
  test('is the same after a restart, and another one for other names', async () => {
    await using folder = await temporaryFolder();
    const first = await open(folder, ['a.example', '127.0.0.1']);
    const second = await open(folder, ['a.example', '127.0.0.1']);
    assert.equal(second.provider.certificate?.fingerprint, first.provider.certificate?.fingerprint);
    assert.deepEqual(second.made, []);
    const third = await open(folder, ['a.example', 'b.example']);
    assert.equal(third.made.length, 1);
    assert.ok(third.provider.certificate && isFor(third.provider.certificate, ['a.example', 'b.example']));
  });

  test('stays if only an unneeded name has changed, such as that of a container', async () => {
    await using folder = await temporaryFolder();
    const needed = ['a.example', '127.0.0.1'];
    const first = await open(folder, [...needed, '0123456789ab'], {}, needed);
    const second = await open(folder, [...needed, 'ba9876543210'], {}, needed);
    assert.equal(second.provider.certificate?.fingerprint, first.provider.certificate?.fingerprint);
    assert.ok(second.provider.certificate && isFor(second.provider.certificate, ['0123456789ab']));
  });

  test('is made again before it ends, while it is in use', async (t) => {
    await using folder = await temporaryFolder();
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: Date.UTC(2027, 0, 1) });
    const { provider, made } = await open(folder, ['a.example']);
    const used: Certificate[] = [];
    provider.start((certificate) => used.push(certificate));
    await pass(t, 225, () => true);
    assert.equal(used.length, 0);
    await pass(t, 20, () => used.length > 0);
    assert.equal(used[0]?.fingerprint, made[1]?.fingerprint);
    assert.equal(provider.status().state, 'valid');
    await provider.close();
  });

  test('one that cannot be saved is served all the same, and that is said', async () => {
    await using folder = await temporaryFolder();
    const full = async (): Promise<void> => {
      throw new Error('ENOSPC: no space left on device');
    };
    const { provider, unsaved } = await open(folder, ['a.example'], { putCertificate: full });
    assert.ok(provider.certificate !== undefined);
    assert.match(unsaved[0] ?? '', /^The certificate cannot be saved: /);
    assert.equal(provider.status().lastFailure?.code, 'store-failed');
    await provider.close();
  });
});
