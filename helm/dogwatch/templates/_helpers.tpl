{{- define "dogwatch.name" -}}
{{- if contains "dogwatch" .Release.Name }}{{ .Release.Name | trunc 38 | trimSuffix "-" }}{{ else }}{{ printf "%s-dogwatch" .Release.Name | trunc 38 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "dogwatch.selector" -}}
app.kubernetes.io/name: dogwatch
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "dogwatch.labels" -}}
{{ include "dogwatch.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "dogwatch.natsServers" -}}
{{- if .Values.nats.url }}{{ .Values.nats.url }}{{ else }}
{{- $name := printf "%s-nats" (include "dogwatch.name" .) -}}
{{- $servers := list -}}
{{- range until 3 }}{{ $servers = append $servers (printf "%s-%d.%s.%s.svc:4222" $name . $name $.Release.Namespace) }}{{ end -}}
{{ join "," $servers }}
{{- end }}
{{- end }}

{{- define "dogwatch.tlsSecret" -}}
{{ .Values.fanout.tls.secretName | default (printf "%s-fanout-tls" (include "dogwatch.name" .)) }}
{{- end }}

{{/* Bytes of a quantity without a fraction: 32Gi. */}}
{{- define "dogwatch.bytes" -}}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{ mul (regexFind "^[0-9]+" .) (index $factors (regexFind "[kKMGTi]*$" .)) }}
{{- end }}

{{/* The configuration of the chart's own NATS servers. */}}
{{- define "dogwatch.natsConfig" -}}
{{- $name := printf "%s-nats" (include "dogwatch.name" .) -}}
server_name: $POD_NAME
listen: 0.0.0.0:4222
http: 0.0.0.0:8222
pid_file: /run/nats/nats.pid
max_payload: 4MB
# Followers that lag are cut by NATS and find out by the chain what they missed.
max_pending: 64MB
lame_duck_grace_period: 5s
lame_duck_duration: 30s
# The rest is for what the file system and the logs of JetStream's own groups take.
jetstream {
  store_dir: /data
  max_file_store: {{ div (mul 9 (include "dogwatch.bytes" .Values.nats.storage.size)) 10 }}
}
cluster {
  name: {{ $name }}
  listen: 0.0.0.0:6222
  routes: [
    {{- range until 3 }}
    nats://{{ $name }}-{{ . }}.{{ $name }}:6222
    {{- end }}
  ]
}
{{- end }}

{{/* Options by the names of flags as environment variables: secure-port as DOGWATCH_SECURE_PORT. */}}
{{- define "dogwatch.options" -}}
{{- range $option, $value := . }}
- name: DOGWATCH_{{ $option | upper | replace "-" "_" }}
  {{- if kindIs "slice" $value }}
  value: {{ join "," $value | quote }}
  {{- else if kindIs "float64" $value }}
  value: {{ $value | int64 | quote }}
  {{- else }}
  value: {{ $value | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The pod of one role, of what it has in common with the others. */}}
{{- define "dogwatch.pod" -}}
{{- $root := .root -}}
{{- $role := .role -}}
{{- $values := index $root.Values $role -}}
{{- $nats := $root.Values.nats -}}
{{- $options := mergeOverwrite (dict "nats-servers" (include "dogwatch.natsServers" $root)) $root.Values.options $values.options -}}
{{- if $nats.credsSecretName }}{{ $_ := set $options "nats-creds" "/nats-creds/nats.creds" }}{{ end }}
{{- if $nats.tls.secretName }}
{{- $_ := set $options "nats-ca-file" "/nats-tls/ca.crt" }}
{{- if $nats.tls.clientCertificate }}
{{- $_ := set $options "nats-cert-file" "/nats-tls/tls.crt" }}
{{- $_ := set $options "nats-key-file" "/nats-tls/tls.key" }}
{{- end }}
{{- end }}
{{- if eq $role "fanout" }}
{{- $_ := set $options "tls-cert-file" "/tls/tls.crt" }}
{{- $_ := set $options "tls-private-key-file" "/tls/tls.key" }}
{{- if $values.clientCaConfigMap }}{{ $_ := set $options "client-ca-file" "/client-ca/ca.crt" }}{{ end }}
{{- end }}
metadata:
  labels:
    {{- include "dogwatch.labels" . | nindent 4 }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "dogwatch.name" $root }}-{{ $role }}
  automountServiceAccountToken: {{ ne $role "shard" }}
  # Variables of Services would look like options.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 60
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: { type: RuntimeDefault }
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "dogwatch.selector" . | nindent 10 }}
  containers:
    - name: {{ $role }}
      image: {{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ $role }}]
      env:
        - name: DOGWATCH_NAME
          valueFrom: { fieldRef: { fieldPath: metadata.name } }
        # Where what is made at run time is kept.
        - name: XDG_STATE_HOME
          value: /state
        {{- include "dogwatch.options" $options | nindent 8 }}
      ports:
        - { name: admin, containerPort: {{ $options | dig "admin-port" 6480 | int }} }
        {{- if eq $role "fanout" }}
        - { name: https, containerPort: {{ $options | dig "secure-port" 6443 | int }} }
        {{- end }}
      livenessProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 2
        timeoutSeconds: 2
      startupProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 2
        failureThreshold: 60
      {{- if eq $role "fanout" }}
      lifecycle:
        preStop:
          # Until no Service leads new clients here any more.
          sleep: { seconds: 5 }
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      volumeMounts:
        - { name: state, mountPath: /state }
        {{- if $nats.credsSecretName }}
        - { name: nats-creds, mountPath: /nats-creds, readOnly: true }
        {{- end }}
        {{- if $nats.tls.secretName }}
        - { name: nats-tls, mountPath: /nats-tls, readOnly: true }
        {{- end }}
        {{- if eq $role "fanout" }}
        - { name: tls, mountPath: /tls, readOnly: true }
        {{- if $values.clientCaConfigMap }}
        - { name: client-ca, mountPath: /client-ca, readOnly: true }
        {{- end }}
        {{- end }}
  volumes:
    - name: state
      emptyDir: { sizeLimit: 16Mi }
    {{- with $nats.credsSecretName }}
    - name: nats-creds
      secret: { secretName: {{ . }} }
    {{- end }}
    {{- with $nats.tls.secretName }}
    - name: nats-tls
      secret: { secretName: {{ . }} }
    {{- end }}
    {{- if eq $role "fanout" }}
    - name: tls
      secret: { secretName: {{ include "dogwatch.tlsSecret" $root }} }
    {{- with $values.clientCaConfigMap }}
    - name: client-ca
      configMap: { name: {{ . }} }
    {{- end }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
