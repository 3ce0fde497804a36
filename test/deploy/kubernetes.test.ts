import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment';
import type { IHorizontalPodAutoscaler } from 'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler';
import type { IIngress } from 'kubernetes-models/networking.k8s.io/v1/Ingress';
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import type { IPodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap';
import type { IProbe } from 'kubernetes-models/v1/Probe';
import type { IService } from 'kubernetes-models/v1/Service';
import { parse as parseYaml } from 'yaml';
import { ConfigError, loadConfig } from '../../src/config/loader.ts';
import { startDockerProxy } from '../support/dockerproxy.ts';
import { httpCall } from '../support/http-request.ts';
import { reservePort } from '../support/reserve-port.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { type Manifest, mistakesOf, parseManifests, readManifests } from './kubernetes-manifests.ts';

const deploy = join(import.meta.dirname, '..', '..', 'deploy');
const folder = join(deploy, 'kubernetes');
const manifests = readManifests(folder);
const find = <T>(kind: string): T =>
  (manifests.find((manifest) => manifest.kind === kind) as T | undefined) ?? assert.fail(kind);

const deployment = find<IDeployment>('Deployment');
const pod = deployment.spec?.template ?? assert.fail();
const spec = pod.spec ?? assert.fail();
const container = spec.containers[0] ?? assert.fail();
const settings = find<IConfigMap>('ConfigMap').data?.['dockerproxy.toml'] ?? assert.fail();
const portOf = (name: unknown) => container.ports?.find((port) => port.name === name)?.containerPort;

/** The image of deploy/Dockerfile. */
const image = readFileSync(join(deploy, 'Dockerfile'), 'utf8');
const imageVariables = Object.fromEntries(
  [...(/^ENV ((?:.*\\\n)*.*)$/m.exec(image)?.[1] ?? '').matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [
    name,
    value,
  ]),
);
/** The environment of the container's process, at an address of its pod. */
const variables: Record<string, string | undefined> = {
  ...imageVariables,
  ...Object.fromEntries((container.env ?? []).map(({ name, value }) => [name, value ?? '127.0.0.1'])),
};

/** The settings of a pod. */
async function podConfig(toml: string, more: Record<string, string> = {}) {
  await using place = await temporaryFolder();
  const path = join(place.path, 'dockerproxy.toml');
  await writeFile(path, toml);
  const environment = { ...variables, DOCKERPROXY_CONFIG: path, ...more };
  return loadConfig({ argv: [], environment, home: '/var/lib/dockerproxy', isRoot: false });
}

/** `50Gi` → bytes. */
function bytesOf(quantity: unknown): number {
  const [, number, unit = ''] = /^(\d+)([KMGT]i)?$/.exec(String(quantity)) ?? assert.fail(String(quantity));
  return Number(number) * 1024 ** ['', 'Ki', 'Mi', 'Gi', 'Ti'].indexOf(unit);
}

suite('the schemas of Kubernetes', () => {
  for (const manifest of manifests) {
    test(`${manifest.kind} is as they have it, without unknown fields`, async () => {
      assert.deepEqual(await mistakesOf(manifest), []);
    });
  }

  const text = (kind: string): string => JSON.stringify(find<Manifest>(kind));
  const breaks: [string, RegExp, () => string][] = [
    [
      'a typing error deep inside',
      /periodSecond is unknown/,
      () => text('Deployment').replace('periodSeconds', 'periodSecond'),
    ],
    [
      'a field at the wrong place',
      /Deployment\.spec\.containers is unknown/,
      () => text('Deployment').replace('"spec":{', '"spec":{"containers":[],'),
    ],
    [
      'a number where a text belongs',
      /value must be string/,
      () => text('Deployment').replace('"/run/secrets/registries"}', '9464}'),
    ],
    [
      'a size that is none',
      /storage must match/,
      () => text('Deployment').replace('"50Gi"', '"50 gigabytes"'),
    ],
    [
      'what is required is missing',
      /must have required property selector/,
      () => text('Deployment').replace('"selector"', '"selectors"'),
    ],
    [
      'a kind of another version',
      /autoscaling\/v2beta2 is no stable version/,
      () => text('HorizontalPodAutoscaler').replace('autoscaling/v2', 'autoscaling/v2beta2'),
    ],
    [
      'an unknown field of a map of maps',
      /Ingress\.spec\.rules\.0\.http\.paths\.0\.backend\.serviceName is unknown/,
      () => text('Ingress').replace('"backend":{', '"backend":{"serviceName":"a",'),
    ],
    [
      'a limit that is no number',
      /maxReplicas must be integer/,
      () => text('HorizontalPodAutoscaler').replace('"maxReplicas":10', '"maxReplicas":"ten"'),
    ],
  ];
  for (const [name, expected, broken] of breaks) {
    test(`notice ${name}`, async () => {
      const [manifest = assert.fail()] = parseManifests(broken());
      assert.notDeepEqual(manifest, find(manifest.kind));
      assert.match((await mistakesOf(manifest)).join('\n'), expected);
    });
  }

  test('YAML is read as kubectl does: a key twice is an error, an octal number is one', () => {
    assert.throws(() => parseManifests('kind: A\nkind: B'), /unique/);
    assert.deepEqual(parseManifests('a: 0440\nb: off'), [{ a: 0o440, b: false }]);
  });
});

suite('deploy/kubernetes as a whole', () => {
  test('the namespace is made first, and all else is in it', () => {
    const [namespace, ...others] = manifests;
    assert.equal(namespace?.kind, 'Namespace');
    for (const { kind, metadata } of others) assert.equal(metadata.namespace, namespace.metadata.name, kind);
  });

  test('each selector matches these pods, and each named port exists', () => {
    const labels = pod.metadata?.labels ?? {};
    const selectors = [
      deployment.spec?.selector.matchLabels,
      find<IService>('Service').spec?.selector,
      find<IPodDisruptionBudget>('PodDisruptionBudget').spec?.selector?.matchLabels,
      find<INetworkPolicy>('NetworkPolicy').spec?.podSelector?.matchLabels,
      ...(spec.topologySpreadConstraints ?? []).map(({ labelSelector }) => labelSelector?.matchLabels),
    ];
    assert.equal(selectors.length, 6);
    for (const selector of selectors) assert.deepEqual({ ...labels, ...selector }, labels);

    const { spec: service } = find<IService>('Service');
    assert.ok(portOf(service?.ports?.[0]?.targetPort));
    const backend = find<IIngress>('Ingress').spec?.rules?.[0]?.http?.paths[0]?.backend.service;
    assert.equal(backend?.name, find<Manifest>('Service').metadata.name);
    assert.equal(backend?.port?.name, service?.ports?.[0]?.name);
    const inwards = find<INetworkPolicy>('NetworkPolicy').spec?.ingress?.flatMap(({ ports = [] }) => ports);
    assert.deepEqual(
      inwards?.map(({ port }) => portOf(port)),
      [8080, 9464],
    );
    const { scaleTargetRef } =
      find<IHorizontalPodAutoscaler>('HorizontalPodAutoscaler').spec ?? assert.fail();
    const { apiVersion, kind, metadata } = find<Manifest>('Deployment');
    assert.deepEqual(scaleTargetRef, { apiVersion, kind, name: metadata.name });
  });

  test('each volume is mounted, and each mount has its volume', () => {
    const mounted = container.volumeMounts?.map(({ name }) => name);
    assert.deepEqual(
      mounted,
      spec.volumes?.map(({ name }) => name),
    );
  });

  test('pods are as confined as the namespace demands, and as the image', () => {
    assert.equal(spec.automountServiceAccountToken, false);
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    const { runAsNonRoot, runAsUser, runAsGroup, seccompProfile } = spec.securityContext ?? {};
    assert.deepEqual(
      { runAsNonRoot, seccompProfile },
      { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    );
    assert.equal(`${runAsUser}:${runAsGroup}`, /^USER (.*)$/m.exec(image)?.[1]);
  });

  test('outgoing connections cannot reach private addresses', () => {
    const rules = find<INetworkPolicy>('NetworkPolicy').spec?.egress ?? [];
    const blocks = rules.flatMap(({ to = [] }) => to.flatMap(({ ipBlock }) => ipBlock ?? []));
    const except = blocks.flatMap((block) => block.except ?? []);
    for (const range of [
      '10.0.0.0/8',
      '172.16.0.0/12',
      '192.168.0.0/16',
      '169.254.0.0/16',
      '100.64.0.0/10',
    ]) {
      assert.ok(except.includes(range), range);
    }
    assert.deepEqual(
      blocks.map(({ cidr }) => cidr),
      ['0.0.0.0/0', '2000::/3'],
    );
  });

  test('the files and settings that the guide names exist', async () => {
    const guide = readFileSync(join(folder, 'README.md'), 'utf8');
    const links = [...guide.matchAll(/\]\((?!https:)([^)#]+)(#[^)]*)?\)/g)].map(([, path = '']) => path);
    assert.ok(links.length > 5);
    for (const path of links) assert.ok(existsSync(join(folder, path)), path);
    const examples = [...guide.matchAll(/^ *```toml\n([\s\S]*?)^ *```$/gm)].map(
      ([, example = '']) => example,
    );
    assert.ok(examples.length > 0);
    for (const example of examples) await podConfig(`tls = "off"\n${example}`);
  });
});

suite('deploy/kubernetes and the program', { timeout: 600_000 }, () => {
  test('the settings are right, and fit the ports, the folders and the volumes', async () => {
    const config = await podConfig(settings);
    assert.equal(config.tls, 'off');
    assert.equal(config.workers, Number(container.resources?.requests?.cpu));
    assert.equal(config.port, portOf('http'));
    assert.equal(config.metricsPort, portOf('metrics'));
    assert.equal(config.metricsHost, '127.0.0.1');
    assert.equal(pod.metadata?.annotations?.['prometheus.io/port'], String(config.metricsPort));
    assert.ok(config.trustProxy.length > 0);
    const places = new Map(container.volumeMounts?.map(({ name, mountPath }) => [name, mountPath]));
    assert.equal(places.get('config'), join(variables.XDG_CONFIG_HOME ?? '', 'dockerproxy'));
    assert.equal(places.get('cache'), config.cacheDir);
    assert.equal(places.get('state'), config.stateDir);
    assert.equal(places.get('registries'), variables.DOCKER_CONFIG);
    const claim = spec.volumes?.find(({ name }) => name === 'cache')?.ephemeral?.volumeClaimTemplate;
    const disk = bytesOf(claim?.spec.resources?.requests?.storage);
    assert.ok(config.cacheSize * 1.2 < disk, `${config.cacheSize} of ${disk}`);
  });

  test('the settings that are shown as examples are right, too', async () => {
    const shown = settings.replace(/^# (?=\w+ = )/gm, '');
    assert.notEqual(shown, settings);
    await podConfig(shown);
  });

  test('a pod gets no variables of the Service, which would be taken for settings', async () => {
    await assert.rejects(podConfig(settings, { DOCKERPROXY_SERVICE_HOST: '10.96.0.1' }), ConfigError);
    assert.equal(spec.enableServiceLinks, false);
  });

  test('a pod may end as slowly as its settings say', async () => {
    const { drain } = await podConfig(settings);
    const sleep = container.lifecycle?.preStop?.sleep?.seconds ?? 0;
    assert.ok(sleep >= 5);
    // The service manager adds ten seconds, too.
    assert.ok((spec.terminationGracePeriodSeconds ?? 0) >= sleep + drain / 1000 + 10);
  });

  test('probes are answered, and the autoscaler’s metric is there', async () => {
    await using place = await temporaryFolder();
    const path = join(place.path, 'dockerproxy.toml');
    await writeFile(path, settings);
    const metricsPort = String(await reservePort());
    const { DOCKERPROXY_METRICS_HOST } = variables;
    await using service = await startDockerProxy({
      env: {
        DOCKERPROXY_CONFIG: path,
        DOCKERPROXY_METRICS_HOST,
        // Several pods run on one machine.
        DOCKERPROXY_METRICS_PORT: metricsPort,
      },
    });
    const probes = {
      startup: container.startupProbe,
      live: container.livenessProbe,
      ready: container.readinessProbe,
    };
    for (const [name, probe] of Object.entries<IProbe | undefined>(probes)) {
      assert.equal(portOf(probe?.httpGet?.port), 8080, name);
      assert.equal((await httpCall(`${service.url}${probe?.httpGet?.path}`)).status, 200, name);
    }
    const { body } = await httpCall(`http://${DOCKERPROXY_METRICS_HOST}:${metricsPort}/metrics`);
    const [first, second] = find<IHorizontalPodAutoscaler>('HorizontalPodAutoscaler').spec?.metrics ?? [];
    const name = first?.pods?.metric.name ?? assert.fail();
    assert.match(body.toString(), new RegExp(`^${name} 0$`, 'm'));
    const adapter = parseYaml(readFileSync(join(folder, 'monitoring', 'prometheus-adapter.yaml'), 'utf8'));
    assert.ok(adapter.rules.custom[0].seriesQuery.startsWith(`${name}{`));
    // Utilization is relative to the requested resources.
    assert.equal(second?.resource?.name, 'cpu');
    assert.ok(container.resources?.requests?.cpu);
  });
});
