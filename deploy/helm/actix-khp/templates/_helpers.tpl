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

{{/* The resource of a topic. A topic's name may have what a resource's must not; then a digest tells it from others. */}}
{{- define "actix-khp.resourceName" -}}
{{- $plain := regexReplaceAll "[^a-z0-9.-]" (lower .) "-" | trunc 240 -}}
{{- if and (eq $plain .) (regexMatch "^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$" .) -}}
{{- . -}}
{{- else -}}
t-{{ regexReplaceAll "[^a-z0-9]+" $plain "-" | trimAll "-" }}-{{ sha256sum . | trunc 8 }}
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

{{/* A duration in seconds, as the settings write it: 30, 0.5, "250ms", "1h30m". What is read at the start counts as 0. */}}
{{- define "actix-khp.seconds" -}}
{{- $text := toString . -}}
{{- $sum := 0.0 -}}
{{- if regexMatch "^[0-9.]+$" $text -}}
{{- $sum = float64 $text -}}
{{- else -}}
{{- $units := dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400 "w" 604800 -}}
{{- range $part := regexFindAll "[0-9]+ *[a-z]+" (lower $text) -1 -}}
{{- $unit := regexFind "[a-z]+" $part -}}
{{- $known := ternary "ms" (substr 0 1 $unit) (hasPrefix "ms" $unit | or (hasPrefix "mil" $unit)) -}}
{{- $sum = addf $sum (mulf (float64 (regexFind "[0-9]+" $part)) (get $units $known | default 0)) -}}
{{- end -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* Fails where the values of a role do not fit together, which no schema can say. */}}
{{- define "actix-khp.refuse" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- $decided := dict
  "port" "the chart opens 8080"
  "management_port" "the chart opens 8081"
  "management_bind" "the chart opens it to the pod's network"
  "drain_timeout" (printf "set %s.drainTimeoutSeconds" $role)
  "pre_stop" "set proxy.preStopSeconds"
  "kafka" (printf "set kafka, or %s.kafka" $role) -}}
{{- range $key, $instead := $decided -}}
{{- range $where, $config := dict "config" $root.Values.config (printf "%s.config" $role) $own.config -}}
{{- if hasKey $config $key -}}
{{- fail (printf "%s.%s would have no effect: %s" $where $key $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $variables := list "PROXY_PORT" "KHP__PORT" "MANAGEMENT_PORT" "KHP__MANAGEMENT_PORT" "KHP__MANAGEMENT_BIND" "KHP__DRAIN_TIMEOUT" "KHP__PRE_STOP" "KAFKA_BOOTSTRAP_SERVERS" "KHP__KAFKA__BOOTSTRAP_SERVERS" -}}
{{- range $own.extraEnv -}}
{{- if has .name $variables -}}
{{- fail (printf "%s.extraEnv: %s would win over what the chart decides" $role .name) -}}
{{- end -}}
{{- end -}}
{{- range $where, $config := dict "config" $root.Values.config (printf "%s.config" $role) $own.config -}}
{{- include "actix-khp.refuseSecrets" (list $where $config) -}}
{{- end -}}
{{- if and $root.Values.managementToken.secretName (or (hasKey $root.Values.config "management_token") (hasKey $own.config "management_token")) -}}
{{- fail "management_token is set twice: by managementToken, and in config" -}}
{{- end -}}
{{- $config := mergeOverwrite (deepCopy $root.Values.config) (deepCopy $own.config) -}}
{{- $waits := list (get $config "default_timeout" | default 30) -}}
{{- if eq $role "proxy" -}}
{{- range (get $config "routes" | default list) -}}{{- $waits = append $waits (get . "timeout" | default 0) -}}{{- end -}}
{{- else -}}
{{- $waits = list 0 -}}
{{- range (get $config "topics" | default list) -}}{{- $waits = append $waits (get . "timeout" | default 30) -}}{{- end -}}
{{- end -}}
{{- $longest := 0 -}}
{{- range $waits -}}{{- $longest = max $longest (include "actix-khp.seconds" . | float64 | ceil | int) -}}{{- end -}}
{{- $needed := add $longest (max 10 (int ($own.preStopSeconds | default 0))) -}}
{{- if lt (int $own.drainTimeoutSeconds) (int $needed) -}}
{{- fail (printf "%s.drainTimeoutSeconds is %d, and has to be %d: the longest timeout (%d s) and preStopSeconds, or 10 seconds where that is less" $role (int $own.drainTimeoutSeconds) (int $needed) (int $longest)) -}}
{{- end -}}
{{- $scaling := dict "autoscaling" $own.autoscaling "keda" $own.keda -}}
{{- range $name, $scaled := $scaling -}}
{{- if and $scaled (gt (int (default 0 $scaled.minReplicas)) (int (default 0 $scaled.maxReplicas))) -}}
{{- fail (printf "%s.%s: minReplicas (%d) is above maxReplicas (%d)" $role $name (int $scaled.minReplicas) (int $scaled.maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Fails where a secret stands in settings, which go into a ConfigMap: (list PATH VALUE) */}}
{{- define "actix-khp.refuseSecrets" -}}
{{- $path := index . 0 -}}
{{- $value := index . 1 -}}
{{- if kindIs "map" $value -}}
{{- range $key, $inner := $value -}}
{{- if and (regexMatch "(?i)^(management_token|results_key|secret|authorization|proxy-authorization|cookie|x-api-key)$" $key) (not (regexMatch "\\$\\{(file|env):" (toString $inner))) -}}
{{- fail (printf "%s.%s is a secret, and would stand in a ConfigMap: mount it with secretFiles, and refer to it as ${file:/etc/actix-khp/secrets/NAME}" $path $key) -}}
{{- end -}}
{{- include "actix-khp.refuseSecrets" (list (printf "%s.%s" $path $key) $inner) -}}
{{- end -}}
{{- else if kindIs "slice" $value -}}
{{- range $index, $inner := $value -}}
{{- include "actix-khp.refuseSecrets" (list (printf "%s[%d]" $path $index) $inner) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The files of secrets of a role, as JSON: its own, and those of both roles whose names it has not. */}}
{{- define "actix-khp.secretFiles" -}}
{{- $root := index . 0 -}}
{{- $own := index $root.Values (index . 1) -}}
{{- $files := dict -}}
{{- range concat $root.Values.secretFiles $own.secretFiles -}}{{- $_ := set $files .name . -}}{{- end -}}
{{- $sorted := list -}}
{{- range $name := keys $files | sortAlpha -}}{{- $sorted = append $sorted (get $files $name) -}}{{- end -}}
{{- $sorted | toJson -}}
{{- end }}

{{/* The settings of a role: those of both roles, under those of the role, under what the chart decides. */}}
{{- define "actix-khp.config" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := index $root.Values $role -}}
{{- include "actix-khp.refuse" . -}}
{{- $config := mergeOverwrite (deepCopy $root.Values.config) (deepCopy $own.config) -}}
{{- $kafka := dict "bootstrap_servers" $root.Values.kafka.bootstrapServers -}}
{{- with mergeOverwrite (deepCopy $root.Values.kafka.properties) (deepCopy $own.kafka.properties) }}{{- $_ := set $kafka "properties" . }}{{- end -}}
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
{{- if or (include "actix-khp.secretFiles" . | fromJsonArray) $root.Values.managementToken.secretName }}
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
{{- $files := include "actix-khp.secretFiles" . | fromJsonArray }}
{{- if or $files $root.Values.managementToken.secretName }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $files }}
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
