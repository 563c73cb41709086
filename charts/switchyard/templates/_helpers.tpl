{{- define "switchyard.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "switchyard.selector" -}}
app.kubernetes.io/name: switchyard
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "switchyard.labels" -}}
{{ include "switchyard.selector" . }}
app.kubernetes.io/component: proxy
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "switchyard.serviceAccount" -}}
{{- default (include "switchyard.name" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "switchyard.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether anybody outside of the node reads metrics. */}}
{{- define "switchyard.scraped" -}}
{{- with .Values.metrics -}}
{{- if or .service.enabled .serviceMonitor.enabled .podMonitor.enabled -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* All addresses of a node. One whose pods have IPv6 first has an IPv6 address at which the kubelet asks; `::` takes IPv4 too. */}}
{{- define "switchyard.everywhere" -}}
{{- ternary "::" "0.0.0.0" (contains ":" (first (splitList "," .Values.clusterCIDR))) -}}
{{- end -}}

{{- define "switchyard.healthzAddress" -}}
{{- default (include "switchyard.everywhere" .) .Values.healthz.address -}}
{{- end -}}

{{- define "switchyard.metricsAddress" -}}
{{- default (ternary (include "switchyard.everywhere" .) "127.0.0.1" (eq (include "switchyard.scraped" .) "true")) .Values.metrics.address -}}
{{- end -}}

{{/* address:port, with brackets around an IPv6 address. */}}
{{- define "switchyard.bind" -}}
{{- if contains ":" .address -}}[{{ .address }}]{{- else -}}{{ .address }}{{- end -}}:{{ .port }}
{{- end -}}

{{/* The kubelet asks at the pod's address, which is the node's, where no other one is said. */}}
{{- define "switchyard.probeHost" -}}
{{- $address := include "switchyard.healthzAddress" . -}}
{{- if not (has $address (list "0.0.0.0" "::")) -}}
host: {{ $address | quote }}
{{- end -}}
{{- end -}}

{{/* The host and port of the API server as a list in JSON; empty where a kubeconfig says them. */}}
{{- define "switchyard.apiServer" -}}
{{- $kubeconfig := or .Values.kubeconfig.configMap .Values.kubeconfig.secret -}}
{{- if and .Values.kubeconfig.configMap .Values.kubeconfig.secret -}}
{{- fail "kubeconfig: name a configMap or a secret, not both" -}}
{{- end -}}
{{- if and $kubeconfig .Values.apiServer.host -}}
{{- fail "apiServer.host and kubeconfig: give one of the two, they could contradict each other" -}}
{{- end -}}
{{- if not (or $kubeconfig .Values.apiServer.host) -}}
{{- fail "apiServer.host is needed: where nodes reach the API server without Services, which nothing serves before this chart does (an address or a name, or auto). On a cluster of kubeadm in kube-system, kubeconfig.configMap=kube-proxy does as well" -}}
{{- end -}}
{{- if eq .Values.apiServer.host "auto" -}}
{{- $info := lookup "v1" "ConfigMap" "kube-public" "cluster-info" -}}
{{- $text := dig "data" "kubeconfig" "" ($info | default dict) -}}
{{- if not $text -}}
{{- fail "apiServer.host=auto: there is no ConfigMap cluster-info with a kubeconfig in kube-public, or helm has no cluster to ask (helm template has none); give apiServer.host itself" -}}
{{- end -}}
{{- $url := urlParse (index ($text | fromYaml) "clusters" 0 "cluster" "server") -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- list (regexReplaceAll ":[0-9]+$" $url.host "" | trimPrefix "[" | trimSuffix "]") (default "443" $port) | toJson -}}
{{- else if .Values.apiServer.host -}}
{{- list .Values.apiServer.host (.Values.apiServer.port | toString) | toJson -}}
{{- end -}}
{{- end -}}

{{/*
The ConfigMap's name changes with what needs privileges, and only the init container has them: the pods start anew then, node by node,
and those that still wait keep what they have. Everything else changes under its name, and the running agents follow.
*/}}
{{- define "switchyard.configName" -}}
{{- $config := .Values.config -}}
{{- $privileged := dict
  "mode" .Values.mode
  "conntrack" (get $config "conntrack")
  "localhostNodePorts" (dig "iptables" "localhostNodePorts" "" $config)
  "nodePortAddresses" (get $config "nodePortAddresses")
  "strictARP" (dig "ipvs" "strictARP" "" $config)
  "scheduler" (dig "ipvs" "scheduler" "" $config)
  | toJson
-}}
{{- $what := ternary (include "switchyard.config" .) $privileged .Values.restartOnConfigChange -}}
{{ include "switchyard.name" . }}-{{ $what | sha256sum | trunc 8 }}
{{- end -}}

{{- define "switchyard.config" -}}
{{- $healthz := dict "address" (include "switchyard.healthzAddress" .) "port" .Values.healthz.port -}}
{{- $metrics := dict "address" (include "switchyard.metricsAddress" .) "port" .Values.metrics.port -}}
{{- $own := dict
  "apiVersion" "kubeproxy.config.k8s.io/v1alpha1"
  "kind" "KubeProxyConfiguration"
  "mode" .Values.mode
  "clusterCIDR" .Values.clusterCIDR
  "healthzBindAddress" (include "switchyard.bind" $healthz)
  "metricsBindAddress" (include "switchyard.bind" $metrics)
-}}
{{- if or .Values.kubeconfig.configMap .Values.kubeconfig.secret -}}
{{- $_ := set $own "clientConnection" (dict "kubeconfig" (printf "/etc/switchyard/kubeconfig/%s" .Values.kubeconfig.key)) -}}
{{- end -}}
{{- /* The kubelet gives this score to pods of that class, and nobody may go below what he was given. */ -}}
{{- if eq .Values.priorityClassName "system-node-critical" -}}
{{- $_ := set $own "oomScoreAdj" -997 -}}
{{- end -}}
{{- mergeOverwrite $own (deepCopy .Values.config) | toYaml -}}
{{- end -}}

{{/* What both containers have in common. */}}
{{- define "switchyard.container" -}}
image: {{ include "switchyard.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
{{- with include "switchyard.apiServer" . }}
{{- $server := fromJsonArray . }}
  - name: KUBERNETES_SERVICE_HOST
    value: {{ index $server 0 | quote }}
  - name: KUBERNETES_SERVICE_PORT
    value: {{ index $server 1 | quote }}
{{- end }}
{{- end -}}

{{- define "switchyard.args" -}}
- proxy
- --config=/etc/switchyard/config/config.yaml
- --hostname-override=$(NODE_NAME)
{{- if .Values.verbosity }}
- --v={{ .Values.verbosity }}
{{- end }}
{{- if ne .Values.metrics.traffic "none" }}
- --service-traffic={{ .Values.metrics.traffic }}
{{- end }}
{{- if and (eq .Values.metrics.traffic "bytes") (eq .Values.mode "iptables") }}
- --conntrack-accounting
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "switchyard.hostMounts" -}}
- name: xtables-lock
  mountPath: /run/xtables.lock
- name: run
  mountPath: /run/switchyard
- name: modules
  mountPath: /lib/modules
  readOnly: true
{{- end -}}

{{- define "switchyard.mounts" -}}
- name: config
  mountPath: /etc/switchyard/config
  readOnly: true
{{- if or .Values.kubeconfig.configMap .Values.kubeconfig.secret }}
- name: kubeconfig
  mountPath: /etc/switchyard/kubeconfig
  readOnly: true
{{- end }}
{{ include "switchyard.hostMounts" . }}
{{- end -}}

{{- define "switchyard.privileged" -}}
privileged: true
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
{{- end -}}

{{- define "switchyard.hostVolumes" -}}
# The very file that all tools of the node lock.
- name: xtables-lock
  hostPath:
    path: /run/xtables.lock
    type: FileOrCreate
# What was changed besides rules, for the clean-up; the ports of userspace mode; the admin socket.
- name: run
  hostPath:
    path: /run/switchyard
    type: DirectoryOrCreate
# Empty on a node whose kernel has all built in.
- name: modules
  hostPath:
    path: /lib/modules
    type: DirectoryOrCreate
{{- end -}}

{{/* The containers of pods that work. */}}
{{- define "switchyard.agent" -}}
initContainers:
  # Sysctls and modules; the agent then finds them as it wants them.
  - name: prepare
    {{- include "switchyard.container" . | nindent 4 }}
    args:
      {{- include "switchyard.args" . | nindent 6 }}
      - --init-only
    securityContext:
      {{- include "switchyard.privileged" . | nindent 6 }}
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      {{- include "switchyard.mounts" . | nindent 6 }}
containers:
  - name: proxy
    {{- include "switchyard.container" . | nindent 4 }}
    args:
      {{- include "switchyard.args" . | nindent 6 }}
    ports:
      # On the host's network: two agents on one node are refused by the scheduler.
      - name: healthz
        containerPort: {{ .Values.healthz.port }}
        hostPort: {{ .Values.healthz.port }}
      - name: metrics
        containerPort: {{ .Values.metrics.port }}
        hostPort: {{ .Values.metrics.port }}
    # Ready once the API server has given this Node; a node that is about to leave no longer is.
    readinessProbe:
      httpGet:
        path: /healthz
        port: healthz
        {{- with include "switchyard.probeHost" . }}{{- . | nindent 8 }}{{- end }}
      periodSeconds: 5
      failureThreshold: 3
    {{- if eq .Values.mode "userspace" }}
    # The process is stuck, and nothing less: a restart ends the connections that it carries, and writes no rule that it could not.
    {{- else }}
    # Two minutes beyond the one that changes may wait: the agent tries again by itself, and a restart rarely helps.
    {{- end }}
    livenessProbe:
      httpGet:
        path: {{ ternary "/livez/ping" "/livez" (eq .Values.mode "userspace") }}
        port: healthz
        {{- with include "switchyard.probeHost" . }}{{- . | nindent 8 }}{{- end }}
      initialDelaySeconds: 30
      periodSeconds: 15
      timeoutSeconds: 5
      failureThreshold: 8
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      runAsUser: 0
      runAsGroup: 0
      capabilities:
        drop: [ALL]
        add: [NET_ADMIN, NET_RAW]
    {{- with .Values.resources }}
    resources:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      {{- include "switchyard.mounts" . | nindent 6 }}
volumes:
  - name: config
    configMap:
      name: {{ include "switchyard.configName" . | quote }}
  {{- with .Values.kubeconfig.configMap }}
  - name: kubeconfig
    configMap:
      name: {{ . | quote }}
  {{- end }}
  {{- with .Values.kubeconfig.secret }}
  - name: kubeconfig
    secret:
      secretName: {{ . | quote }}
  {{- end }}
  {{- include "switchyard.hostVolumes" . | nindent 2 }}
{{- end -}}

{{/* Of pods that clean up: once it is done they are ready, and wait. */}}
{{- define "switchyard.cleaner" -}}
initContainers:
  - name: cleanup
    image: {{ include "switchyard.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      - cleanup
      {{- if eq .Values.cleanup "leftovers" }}
      - --leftovers
      {{- end }}
      {{- /* Where the agents have kept what they changed, and what is not theirs. */}}
      {{- with dig "ipvs" "excludeCIDRs" (list) .Values.config }}
      - {{ printf "--ipvs-exclude-cidrs=%s" (join "," .) | quote }}
      {{- end }}
      {{- range .Values.extraArgs }}
      {{- if has (first (splitList "=" .)) (list "--state-file" "--userspace-state-file") }}
      - {{ . | quote }}
      {{- end }}
      {{- end }}
    securityContext:
      {{- include "switchyard.privileged" . | nindent 6 }}
    volumeMounts:
      {{- include "switchyard.hostMounts" . | nindent 6 }}
containers:
  - name: done
    image: {{ include "switchyard.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [/usr/local/bin/node, --eval, "process.on('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e9)"]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      runAsUser: 65534
      runAsGroup: 65534
      runAsNonRoot: true
      capabilities:
        drop: [ALL]
volumes:
  {{- include "switchyard.hostVolumes" . | nindent 2 }}
{{- end -}}
