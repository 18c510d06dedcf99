{{- define "whimbrel.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "whimbrel.selector" -}}
app.kubernetes.io/name: whimbrel
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "whimbrel.labels" -}}
{{ include "whimbrel.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{- define "whimbrel.toml" -}}
domain = {{ .Values.domain | quote }}

[tls]
certificate = "/etc/whimbrel/tls/tls.crt"
key = "/etc/whimbrel/tls/tls.key"

[store]
url = {{ .Values.store.url | quote }}
password_file = "/etc/whimbrel/secrets/postgres"

[bus]
url = {{ .Values.bus.url | quote }}
{{- if .Values.bus.user }}
user = {{ .Values.bus.user | quote }}
password_file = "/etc/whimbrel/secrets/nats"
{{- end }}

[node]
inside = "0.0.0.0:8090"
{{- if .Values.media.claim }}
media = "/var/lib/whimbrel-media"
{{- end }}
{{- end }}
