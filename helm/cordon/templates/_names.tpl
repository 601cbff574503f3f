{{- define "cordon.name" -}}
{{- if contains "cordon" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-cordon" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "cordon.selector" -}}
app.kubernetes.io/name: cordon
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "cordon.labels" -}}
{{ include "cordon.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "cordon.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* The name of one of the secrets: the existing one, or the chart's own. */}}
{{- define "cordon.secret" -}}
{{- $secret := index .root.Values.secrets .which -}}
{{ $secret.existingSecret | default (printf "%s-%s" (include "cordon.name" .root) .which) }}
{{- end }}

{{- define "cordon.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "cordon.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "cordon.databaseVariable" -}}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "cordon.secret" (dict "root" . "which" "database") }}
      key: {{ .Values.secrets.database.key }}
{{- end }}
