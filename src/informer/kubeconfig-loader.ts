// Loaded when an API server is the source, and not before: it is the most costly import of all. In a file of
// its own so that the bundle takes of the package what KubeConfig needs; of `import(…)` it would take all.
export { KubeConfig } from '@kubernetes/client-node';
