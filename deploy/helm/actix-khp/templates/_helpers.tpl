{{- define "actix-khp.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "actix-khp.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Of a role: (list $ "proxy") */}}
{{- define "actix-khp.roleName" -}}
{{- $root := index . 0 -}}
{{ include "actix-khp.fullname" $root }}-{{ index . 1 }}
{{- end }}

{{- define "actix-khp.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "actix-khp.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "actix-khp.labels" -}}
{{- $root := index . 0 -}}
{{ include "actix-khp.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "actix-khp.image" -}}
{{- $image := .Values.image -}}
{{ $image.repository }}:{{ default .Chart.AppVersion $image.tag }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The settings of a role: those of both roles, under those of the role, under what the chart decides. */}}
{{- define "actix-khp.config" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- $config := mergeOverwrite (deepCopy $root.Values.config) (deepCopy $own.config) -}}
{{- $kafka := dict "bootstrap_servers" $root.Values.kafka.bootstrapServers -}}
{{- with $root.Values.kafka.properties }}{{- $_ := set $kafka "properties" . }}{{- end -}}
{{- $_ := set $config "kafka" $kafka -}}
{{- $_ := set $config "management_port" 8081 -}}
{{- $_ := set $config "management_bind" "0.0.0.0" -}}
{{- if $root.Values.managementToken.secretName -}}
{{- $_ := set $config "management_token" "${file:/etc/actix-khp/secrets/management-token}" -}}
{{- end -}}
{{- $_ := set $config "drain_timeout" (int $own.drainTimeoutSeconds) -}}
{{- if eq $role "proxy" -}}
{{- $_ := set $config "port" 8080 -}}
{{- $_ := set $config "pre_stop" (int $own.preStopSeconds) -}}
{{- if $own.tlsSecret -}}
{{- $_ := set $config "tls" (mergeOverwrite (dict "cert" "/etc/actix-khp/tls/tls.crt" "key" "/etc/actix-khp/tls/tls.key") (default (dict) $config.tls)) -}}
{{- end -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}

{{- define "actix-khp.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "actix-khp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "actix-khp.mounts" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
- {name: config, mountPath: /etc/actix-khp/config, readOnly: true}
{{- if or $root.Values.secretFiles $root.Values.managementToken.secretName }}
- {name: secrets, mountPath: /etc/actix-khp/secrets, readOnly: true}
{{- end }}
{{- if and (eq $role "proxy") $own.tlsSecret }}
- {name: tls, mountPath: /etc/actix-khp/tls, readOnly: true}
{{- end }}
{{- with $own.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "actix-khp.volumes" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
- name: config
  configMap:
    name: {{ include "actix-khp.roleName" . }}
{{- if or $root.Values.secretFiles $root.Values.managementToken.secretName }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $root.Values.secretFiles }}
      - secret:
          name: {{ .secretName }}
          items:
            - {key: {{ .key | quote }}, path: {{ .name | quote }}}
      {{- end }}
      {{- with $root.Values.managementToken }}
      {{- if .secretName }}
      - secret:
          name: {{ .secretName }}
          items:
            - {key: {{ .key | quote }}, path: management-token}
      {{- end }}
      {{- end }}
{{- end }}
{{- if and (eq $role "proxy") $own.tlsSecret }}
- name: tls
  secret:
    secretName: {{ $own.tlsSecret }}
    defaultMode: 0440
{{- end }}
{{- with $own.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The Deployment or StatefulSet of a role. */}}
{{- define "actix-khp.workload" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- $scaled := or (dig "autoscaling" "enabled" false $own) (dig "keda" "enabled" false $own) -}}
apiVersion: apps/v1
kind: {{ $own.kind }}
metadata:
  name: {{ include "actix-khp.roleName" . }}
  labels:
    {{- include "actix-khp.labels" . | nindent 4 }}
spec:
  {{- if not $scaled }}
  replicas: {{ $own.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "actix-khp.selector" . | nindent 6 }}
  {{- if eq $own.kind "StatefulSet" }}
  serviceName: {{ include "actix-khp.roleName" . }}-pods
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "actix-khp.labels" . | nindent 8 }}
      annotations:
        # Other settings are other pods.
        checksum/config: {{ include "actix-khp.config" . | sha256sum }}
        {{- with $own.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "actix-khp.fullname" $root }}
      automountServiceAccountToken: false
      # Longer than a stop may take: drain_timeout, and what follows it.
      terminationGracePeriodSeconds: {{ add $own.drainTimeoutSeconds 10 }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "actix-khp.podSecurity" $root | nindent 8 }}
      containers:
        - name: {{ $role }}
          image: {{ include "actix-khp.image" $root | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: ["--mode", {{ $role | quote }}, "--config", "/etc/actix-khp/config/{{ $role }}.yaml"]
          {{- $numbered := and (eq $role "proxy") (eq $own.kind "StatefulSet") }}
          {{- if or $numbered $own.extraEnv }}
          env:
            {{- if $numbered }}
            # The number at its end chooses the reply partition.
            - name: INSTANCE_ID
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
            {{- end }}
            {{- with $own.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- end }}
          ports:
            {{- if eq $role "proxy" }}
            - {name: http, containerPort: 8080}
            {{- end }}
            - {name: management, containerPort: 8081}
          livenessProbe:
            httpGet: {path: /health/live, port: management}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /health/ready, port: management}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: 2
          securityContext:
            {{- include "actix-khp.containerSecurity" $root | nindent 12 }}
          resources:
            {{- toYaml $own.resources | nindent 12 }}
          volumeMounts:
            {{- include "actix-khp.mounts" . | nindent 12 }}
      volumes:
        {{- include "actix-khp.volumes" . | nindent 8 }}
      {{- with $own.topologySpread }}
      topologySpreadConstraints:
        {{- range . }}
        - {{- toYaml . | nindent 10 }}
          labelSelector:
            matchLabels:
              {{- include "actix-khp.selector" (list $root $role) | nindent 14 }}
        {{- end }}
      {{- end }}
      {{- with $own.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $own.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
