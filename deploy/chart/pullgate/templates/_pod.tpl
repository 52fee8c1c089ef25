{{/*
What a replica and the check before an upgrade have in common: arguments, environment, files. The
check has `.checks` in its context: the name of the ConfigMap with the policy that is to come.
*/}}
{{- define "pullgate.arguments" -}}
- serve
- --listen=0.0.0.0:{{ .Values.ports.webhook }}
- --admin-listen=0.0.0.0:{{ .Values.ports.admin }}
{{- if .checks }}
- --check-only
{{- end }}
{{- if and .checks (eq .Values.policyFrom.kind "PullgatePolicy") (not .Values.policyFrom.render) }}
{{- else if and (not .checks) (eq .Values.policyFrom.kind "PullgatePolicy") }}
- --policy-from-cluster={{ include "pullgate.policyName" . }}
{{- else }}
- --policy=/etc/pullgate/policy/policy.yaml
{{- end }}
- --own-secret={{ include "pullgate.name" . }}
- --own-service={{ include "pullgate.name" . }}
- --webhook-configuration={{ include "pullgate.clusterName" . }}
{{- /* The certificate may come later than the check, which runs before an upgrade. */}}
{{- if and (not .checks) (ne .Values.certificates.mode "self") }}
- --tls-cert=/etc/pullgate/tls/tls.crt
- --tls-key=/etc/pullgate/tls/tls.key
{{- end }}
{{- if eq .Values.webhook.proof "aggregation" }}
- --aggregated
{{- else if .Values.webhook.trustPath }}
- --trust-path
{{- end }}
{{- if .Values.clientAuthorities.configMapName }}
- --client-ca-file=/etc/pullgate/client-authorities/ca.crt
{{- end }}
{{- if .Values.registries.hosts.configMapName }}
- --registry-hosts-dir=/etc/pullgate/hosts
{{- end }}
{{- if .Values.registries.k3s.secretName }}
- --k3s-registries=/etc/pullgate/k3s/registries.yaml
{{- end }}
{{- if .Values.registries.crio.configMapName }}
- --crio-registries=/etc/pullgate/crio/registries.conf
{{- end }}
{{- if .Values.registries.authoritiesConfigMapName }}
- --ca-file=/etc/pullgate/authorities/ca.crt
{{- end }}
{{- range .Values.registries.allowAddresses }}
- --allow-address={{ . }}
{{- end }}
{{- range .Values.registries.clusterRanges }}
- --cluster-range={{ . }}
{{- end }}
{{- range .Values.registries.tokenRealms }}
- --token-realm={{ .registry }}={{ .host }}
{{- end }}
{{- with .Values.nodes.runtime }}
- --runtime={{ . }}
{{- end }}
{{- if .Values.nodes.dockerConfig.secretName }}
- --node-docker-config=/etc/pullgate/node-login/config.json
{{- end }}
{{- if .Values.nodes.credentialProviders.configMapName }}
- --image-credential-provider-config=/etc/pullgate/credential-providers/config.yaml
- --image-credential-provider-bin-dir=/opt/credential-providers
{{- end }}
{{- if and (not .checks) .Values.snapshot.volume }}
- --snapshot-file=/var/lib/pullgate/snapshot
{{- end }}
- --audit-seconds={{ int .Values.audit.seconds }}
{{- if .Values.web.enabled }}
- --web
{{- end }}
{{- if .Values.policyReports.enabled }}
- --policy-reports={{ .Values.policyReports.group }}
{{- end }}
{{- with .Values.otlp.endpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "pullgate.environment" -}}
- name: PULLGATE_OWN_NAMESPACE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.namespace
- name: PULLGATE_OWN_NAME
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: metadata.name
{{- with .Values.extraEnv }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end -}}

{{- define "pullgate.volumeMounts" -}}
{{- if or .checks (eq .Values.policyFrom.kind "ConfigMap") }}
- name: policy
  mountPath: /etc/pullgate/policy
  readOnly: true
{{- end }}
{{- if and (not .checks) (ne .Values.certificates.mode "self") }}
- name: tls
  mountPath: /etc/pullgate/tls
  readOnly: true
{{- end }}
{{- if .Values.clientAuthorities.configMapName }}
- name: client-authorities
  mountPath: /etc/pullgate/client-authorities
  readOnly: true
{{- end }}
{{- if .Values.registries.hosts.configMapName }}
- name: hosts
  mountPath: /etc/pullgate/hosts
  readOnly: true
{{- end }}
{{- if .Values.registries.authoritiesConfigMapName }}
- name: authorities
  mountPath: /etc/pullgate/authorities
  readOnly: true
{{- end }}
{{- if and (not .checks) .Values.snapshot.volume }}
- name: snapshot
  mountPath: /var/lib/pullgate
{{- end }}
{{- if .Values.registries.k3s.secretName }}
- name: k3s
  mountPath: /etc/pullgate/k3s
  readOnly: true
{{- end }}
{{- if .Values.registries.crio.configMapName }}
- name: crio
  mountPath: /etc/pullgate/crio
  readOnly: true
{{- end }}
{{- range $index, $file := .Values.registries.files }}
- name: files-{{ $index }}
  mountPath: {{ $file.mountPath | quote }}
  readOnly: true
{{- end }}
{{- if .Values.nodes.dockerConfig.secretName }}
- name: node-login
  mountPath: /etc/pullgate/node-login
  readOnly: true
{{- end }}
{{- if .Values.nodes.credentialProviders.configMapName }}
- name: credential-providers
  mountPath: /etc/pullgate/credential-providers
  readOnly: true
- name: credential-plugins
  mountPath: /opt/credential-providers
  {{- with .Values.nodes.credentialProviders.plugins.subPath }}
  subPath: {{ . }}
  {{- end }}
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pullgate.volumes" -}}
{{- if or .checks (eq .Values.policyFrom.kind "ConfigMap") }}
- name: policy
  configMap:
    name: {{ default (printf "%s-policy" (include "pullgate.name" .)) .checks }}
{{- end }}
{{- if and (not .checks) (ne .Values.certificates.mode "self") }}
- name: tls
  secret:
    secretName: {{ include "pullgate.certificateSecret" . }}
{{- end }}
{{- with .Values.clientAuthorities.configMapName }}
- name: client-authorities
  configMap:
    name: {{ . }}
{{- end }}
{{- if .Values.registries.hosts.configMapName }}
- name: hosts
  configMap:
    name: {{ .Values.registries.hosts.configMapName }}
    items:
      {{- range .Values.registries.hosts.items }}
      - key: {{ .key | quote }}
        path: {{ printf "%s/hosts.toml" .name | quote }}
      {{- end }}
{{- end }}
{{- with .Values.registries.authoritiesConfigMapName }}
- name: authorities
  configMap:
    name: {{ . }}
{{- end }}
{{- if and (not .checks) .Values.snapshot.volume }}
- name: snapshot
  {{- toYaml .Values.snapshot.volume | nindent 2 }}
{{- end }}
{{- if .Values.registries.k3s.secretName }}
- name: k3s
  secret:
    secretName: {{ .Values.registries.k3s.secretName }}
    items:
      - key: {{ .Values.registries.k3s.key | quote }}
        path: registries.yaml
{{- end }}
{{- if .Values.registries.crio.configMapName }}
- name: crio
  projected:
    sources:
      - configMap:
          name: {{ .Values.registries.crio.configMapName }}
          items:
            - key: {{ .Values.registries.crio.key | quote }}
              path: registries.conf
      {{- with .Values.registries.crio.dropInsConfigMapName }}
      - configMap:
          name: {{ . }}
          items:
            {{- range $.Values.registries.crio.dropIns }}
            - key: {{ . | quote }}
              path: {{ printf "registries.conf.d/%s" . | quote }}
            {{- end }}
      {{- end }}
{{- end }}
{{- range $index, $file := .Values.registries.files }}
- name: files-{{ $index }}
  {{- if $file.secretName }}
  secret:
    secretName: {{ $file.secretName }}
  {{- else }}
  configMap:
    name: {{ required "registries.files: each has a secretName or a configMapName" $file.configMapName }}
  {{- end }}
{{- end }}
{{- if .Values.nodes.dockerConfig.secretName }}
- name: node-login
  secret:
    secretName: {{ .Values.nodes.dockerConfig.secretName }}
    items:
      - key: {{ .Values.nodes.dockerConfig.key | quote }}
        path: config.json
{{- end }}
{{- if .Values.nodes.credentialProviders.configMapName }}
- name: credential-providers
  configMap:
    name: {{ .Values.nodes.credentialProviders.configMapName }}
    items:
      - key: {{ .Values.nodes.credentialProviders.key | quote }}
        path: config.yaml
- name: credential-plugins
  {{- if not .Values.nodes.credentialProviders.plugins.volume }}
  {{- fail "nodes.credentialProviders.plugins.volume holds the plugins that the configuration names" }}
  {{- end }}
  {{- toYaml .Values.nodes.credentialProviders.plugins.volume | nindent 2 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "pullgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "pullgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
