import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { killGroup } from '../../../src/commands/surroundings.ts';
import { createDnsHook, type DnsHookOptions } from '../../../src/tls/acme/dns-hook.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { waitFor } from '../../support/wait-for.ts';

const record = {
  name: '_acme-challenge.dl.example.org',
  value: 'the-value',
  challenge: { type: 'dns-01', name: 'dl.example.org', token: 'token', keyAuthorization: 'token.print' },
} as const;

async function openHook(script: string, options: Partial<DnsHookOptions> = {}) {
  const folder = await temporaryFolder();
  const program = join(folder.path, 'hook');
  await writeFile(program, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
  const output: string[] = [];
  const variables = { PATH: '/usr/bin:/bin', DNS_TOKEN: 'of the operator', DOCKERPROXY_REDIS_URL: 'secret' };
  const hook = createDnsHook({
    ...{ program, variables, killGroup },
    onOutput: (line) => output.push(line),
    ...options,
  });
  return {
    ...{ program, output, file: join(folder.path, 'seen') },
    present: (signal?: AbortSignal) => hook('present', record, signal),
    cleanup: () => hook('cleanup', record, undefined),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

suite('the DNS hook', () => {
  test('gets the arguments of lego and the variables of certbot, and no setting of the service', async () => {
    await using hook = await openHook(
      'echo "$1 $2 $3 $CERTBOT_DOMAIN $CERTBOT_VALIDATION $DNS_TOKEN,$DOCKERPROXY_REDIS_URL" >> "$(dirname "$0")/seen"; echo done',
    );
    await hook.present();
    await hook.cleanup();
    const rest = '_acme-challenge.dl.example.org. the-value dl.example.org the-value of the operator,';
    assert.equal(await readFile(hook.file, 'utf8'), `present ${rest}\ncleanup ${rest}\n`);
    assert.deepEqual(hook.output, ['done', 'done']);
  });

  test('that fails is named with its exit code and last line', async () => {
    await using hook = await openHook('echo first; echo "no such zone" >&2; exit 3');
    await assert.rejects(hook.present(), ({ message }: Error) => {
      assert.equal(
        message,
        `The DNS hook ${hook.program} present _acme-challenge.dl.example.org ended with exit code 3. It says "no such zone".`,
      );
      return true;
    });
  });

  test('that prints without end keeps the last 4096 characters', async () => {
    await using hook = await openHook('head -c 3000000 /dev/zero | tr "\\0" x; echo; exit 1');
    await assert.rejects(hook.present(), ({ message }: Error) => message.length < 600);
    assert.ok(hook.output.join('').length <= 4096);
  });

  /** Waits until the program that a hook started, and whose ID it wrote, has ended. */
  async function childEnds(file: string): Promise<void> {
    const pid = Number(await readFile(file, 'utf8'));
    assert.ok(pid > 1);
    await waitFor(
      async () => (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ' Z ')).includes(' Z '),
      {
        what: 'the end of the program that the hook started',
      },
    );
  }

  test('that takes too long is killed with the programs that it started', async () => {
    await using hook = await openHook('sleep 600 & echo $! > "$(dirname "$0")/seen"; wait', {
      timeout: 1000,
    });
    await assert.rejects(hook.present(), /took too long/);
    await childEnds(hook.file);
  });

  test('ends with the order, and so do the programs that it started', async () => {
    await using hook = await openHook('sleep 600 & echo $! > "$(dirname "$0")/seen"; wait');
    const order = new AbortController();
    const presented = hook.present(order.signal);
    presented.catch(() => {});
    await waitFor(async () => (await readFile(hook.file, 'utf8').catch(() => '')).endsWith('\n'), {
      what: 'the program that the hook starts',
    });
    order.abort(new Error('the order ended'));
    await assert.rejects(presented, /the order ended/);
    await childEnds(hook.file);
    await assert.rejects(hook.present(order.signal), /the order ended/);
  });

  test('that is missing or not executable is named', async () => {
    await using hook = await openHook('exit 0', { program: '/nowhere/hook' });
    await assert.rejects(hook.present(), /The DNS hook \/nowhere\/hook present .* cannot run: .*ENOENT/);
  });
});
