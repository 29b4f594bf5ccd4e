{{- define "roadstead.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 57 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 57 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "roadstead.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "roadstead.labels" -}}
{{ include "roadstead.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- /* The configuration with what the other values imply. */ -}}
{{- define "roadstead.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.credentialsSecret -}}
{{- $config = mergeOverwrite $config (dict "proxy" (dict "credentialsfile" "/etc/roadstead/credentials/.dockerconfigjson")) -}}
{{- end -}}
{{- if .Values.tlsSecret -}}
{{- $tls := dict "certificate" "/etc/roadstead/tls/tls.crt" "key" "/etc/roadstead/tls/tls.key" -}}
{{- $config = mergeOverwrite $config (dict "http" (dict "tls" $tls)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "roadstead.claim" -}}
spec:
  accessModes: [{{ .Values.volume.accessMode }}]
  {{- with .Values.volume.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .Values.volume.size }}
{{- end -}}
