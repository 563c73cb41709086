/** Where the Service is reached from outside of the cluster. */
export const nodePort = 30080;

/** Says the name of the pod. Busybox would not end by itself as the first process of a container. */
const script =
  'hostname > /tmp/index.html; httpd -f -p 8080 -h /tmp & trap "exit 0" TERM; echo serving; wait';

const container = {
  name: 'web',
  image: 'docker.io/local/busybox:1',
  imagePullPolicy: 'Never',
  command: ['sh', '-c', script],
  ports: [{ name: 'http', containerPort: 8080 }],
  readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1 },
  // Clients are still sent here until all nodes have heard that it goes.
  lifecycle: { preStop: { sleep: { seconds: 2 } } },
  resources: { requests: { cpu: '10m', memory: '16Mi' } },
};

const labels = { app: 'web' };

/** Four pods, as many on each node. */
export const webDeployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', labels },
  spec: {
    replicas: 4,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        terminationGracePeriodSeconds: 5,
        containers: [container],
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: 'kubernetes.io/hostname',
            whenUnsatisfiable: 'DoNotSchedule',
            labelSelector: { matchLabels: labels },
          },
        ],
      },
    },
  },
};

export const webService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', labels },
  spec: {
    type: 'NodePort',
    selector: labels,
    ports: [{ name: 'http', port: 80, targetPort: 'http', nodePort }],
  },
};
