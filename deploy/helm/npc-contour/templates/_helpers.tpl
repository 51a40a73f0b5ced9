{{- define "npc.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "npc.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "npc.labels" -}}
{{ include "npc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "npc.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "npc.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "npc.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "npc.claim" -}}
{{ .Values.spool.existingClaim | default (printf "%s-spool" (include "npc.name" .)) }}
{{- end }}

{{- /* site.toml: what the values say, and what the chart owns. */ -}}
{{- define "npc.site" -}}
{{- $triton := dict "url" .Values.triton.url -}}
{{- if eq .Values.triton.kind "external" -}}
{{-   if .Values.triton.metricsUrl -}}{{- $_ := set $triton "metrics_url" .Values.triton.metricsUrl -}}{{- end -}}
{{- else -}}
{{-   $host := printf "%s-triton" (include "npc.name" .) -}}
{{-   $triton = dict "url" (printf "%s:8001" $host) "metrics_url" (printf "http://%s:8002/metrics" $host) -}}
{{- end -}}
{{- if .Values.triton.existingClaim -}}{{- $_ := set $triton "model_repository" "/models" -}}{{- end -}}
{{- $own := dict
      "storage" (dict "root" "/var/lib/npc-contour" "shared_spool" "/srv/npc-contour/spool")
      "dicom" (dict "host" "0.0.0.0" "port" 11112)
      "web" (dict "host" "0.0.0.0" "port" 8080)
      "status" (dict "host" "0.0.0.0" "port" 8081)
      "database" (dict "url" .Values.database.url "password_file" "/run/secrets/database/password")
      "triton" $triton -}}
{{- toToml (mergeOverwrite (deepCopy .Values.site) $own) }}
{{- end }}

{{- define "npc.podSecurity" -}}
{{- $own := dict "runAsNonRoot" true "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001
      "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- include "npc.without" (mergeOverwrite $own (deepCopy .Values.podSecurityContext)) }}
{{- end }}

{{- define "npc.containerSecurity" -}}
{{- $own := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "npc.without" (mergeOverwrite $own (deepCopy .Values.containerSecurityContext)) }}
{{- end }}

{{- /* A table as YAML, without keys that are null. */ -}}
{{- define "npc.without" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}{{- if not (kindIs "invalid" $value) -}}{{- $_ := set $kept $key $value -}}{{- end -}}{{- end -}}
{{- toYaml $kept }}
{{- end }}

{{- /* The Secrets that site.toml asks for, as YAML: a list of name, secret and path. */ -}}
{{- define "npc.secrets" -}}
{{- $found := list -}}
{{- with dig "dicom" "tls" "certificate" "" .Values.site -}}
{{-   $found = append $found (dict "name" "dicom-tls" "secret" $.Values.dicomTls.existingSecret "path" (dir .)) -}}
{{- end -}}
{{- with dig "oidc" "client_secret_file" "" .Values.site -}}
{{-   $found = append $found (dict "name" "oidc" "secret" $.Values.oidc.existingSecret "path" (dir .)) -}}
{{- end -}}
{{- range $number, $secret := .Values.secrets -}}
{{-   $found = append $found (dict "name" (printf "secret-%d" $number) "secret" $secret.name "path" (clean $secret.mountPath)) -}}
{{- end -}}
{{- toYaml $found }}
{{- end }}

{{- /* Refuses files that site.toml names and nothing mounts. */ -}}
{{- define "npc.checkFiles" -}}
{{- $site := .Values.site -}}
{{- $mounted := list -}}
{{- range (include "npc.secrets" . | fromYamlArray) -}}{{- $mounted = append $mounted .path -}}{{- end -}}
{{- range .Values.extraVolumeMounts -}}{{- $mounted = append $mounted (clean .mountPath) -}}{{- end -}}
{{- $tables := list (dig "dicom" "tls" (dict) $site) ($site.oidc | default dict) ($site.audit | default dict) -}}
{{- $tables = concat $tables ($site.destinations | default list) ($site.pacs | default list) ($site.webhooks | default list) -}}
{{- range $table := $tables -}}
{{-   range $key, $value := $table -}}
{{-     if and (kindIs "string" $value) (or (hasSuffix "_file" $key) (has $key (list "certificate" "key" "trusted"))) -}}
{{-       $there := false -}}
{{-       range $mounted -}}{{- if hasPrefix (printf "%s/" .) $value -}}{{- $there = true -}}{{- end -}}{{- end -}}
{{-       if not $there -}}{{- fail (printf "site: nothing is mounted where %s (%s) lies: name its Secret in secrets" $value $key) -}}{{- end -}}
{{-     end -}}
{{-   end -}}
{{- end -}}
{{- end }}

{{- define "npc.mounts" -}}
- {name: site, mountPath: /etc/npc-contour, readOnly: true}
- {name: database, mountPath: /run/secrets/database, readOnly: true}
- {name: spool, mountPath: /srv/npc-contour/spool}
- {name: state, mountPath: /var/lib/npc-contour}
- {name: cache, mountPath: /var/cache/npc-contour}
- {name: tmp, mountPath: /tmp}
{{- if .Values.triton.existingClaim }}
- {name: models, mountPath: /models, readOnly: true}
{{- end }}
{{- range (include "npc.secrets" . | fromYamlArray) }}
- {name: {{ .name }}, mountPath: {{ .path }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "npc.volumes" -}}
- name: site
  configMap:
    name: {{ include "npc.name" . }}-site
- name: database
  secret:
    secretName: {{ .Values.database.existingSecret }}
    items:
      - {key: {{ .Values.database.passwordKey }}, path: password}
- name: spool
  persistentVolumeClaim:
    claimName: {{ include "npc.claim" . }}
- name: state
  emptyDir: {}
- name: cache
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- if .Values.triton.existingClaim }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.triton.existingClaim }}
    readOnly: true
{{- end }}
{{- range (include "npc.secrets" . | fromYamlArray) }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The pod of one role: (dict "root" $ "role" "receiver" "values" .Values.receiver) */ -}}
{{- define "npc.pod" -}}
{{- $root := .root -}}
{{- include "npc.checkFiles" $root -}}
metadata:
  labels:
    {{- include "npc.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .role }}
  annotations:
    checksum/site: {{ include "npc.site" $root | sha256sum }}
    {{- with $root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "npc.serviceAccount" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- include "npc.podSecurity" $root | nindent 4 }}
  terminationGracePeriodSeconds: 120
  containers:
    - name: {{ .role }}
      image: {{ include "npc.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [npc-contour, serve, --config, /etc/npc-contour/site.toml, --roles, {{ .role }}]
      securityContext:
        {{- include "npc.containerSecurity" $root | nindent 8 }}
      env:
        - {name: TZ, value: {{ $root.Values.timeZone | quote }}}
        {{- with $root.Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- if eq .role "receiver" }}
        - {name: dicom, containerPort: 11112}
        {{- with dig "dicom" "tls" "port" "" $root.Values.site }}
        - {name: dicom-tls, containerPort: {{ . }}}
        {{- end }}
        {{- else if eq .role "web" }}
        - {name: http, containerPort: 8080}
        {{- end }}
        - {name: status, containerPort: 8081}
      startupProbe:
        httpGet: {path: /health/live, port: status}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: status}
        periodSeconds: 20
        timeoutSeconds: 5
      {{- if eq .role "receiver" }}
      # Database, spool, and a C-ECHO to itself: a pod that cannot keep an image gets none.
      readinessProbe:
        httpGet: {path: /health/ready, port: status}
        periodSeconds: 10
        timeoutSeconds: 6
      {{- else if eq .role "web" }}
      # Not /health/ready: the page must open just when something is not ready.
      readinessProbe:
        httpGet: {path: /health/live, port: http}
        periodSeconds: 10
        timeoutSeconds: 5
      {{- end }}
      resources:
        {{- toYaml .values.resources | nindent 8 }}
      volumeMounts:
        {{- include "npc.mounts" $root | nindent 8 }}
  volumes:
    {{- include "npc.volumes" $root | nindent 4 }}
  {{- with .values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "npc.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ .role }}
{{- end }}
