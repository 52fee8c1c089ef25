{{/* The name of all objects. */}}
{{- define "pullgate.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of objects that belong to the whole cluster: two releases do not meet. */}}
{{- define "pullgate.clusterName" -}}
{{- $name := include "pullgate.name" . -}}
{{- if eq $name .Release.Namespace -}}{{ $name }}{{- else -}}{{ printf "%s-%s" .Release.Namespace $name | trunc 63 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "pullgate.selectorLabels" -}}
app.kubernetes.io/name: pullgate
app.kubernetes.io/instance: {{ include "pullgate.name" . }}
{{- end -}}

{{- define "pullgate.labels" -}}
{{ include "pullgate.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "pullgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "pullgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "pullgate.name" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.create is false: serviceAccount.name names the one to use" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* The Secret with the serving certificate where Pullgate does not make it itself. */}}
{{- define "pullgate.certificateSecret" -}}
{{- if eq .Values.certificates.mode "certManager" -}}
{{ include "pullgate.name" . }}-tls
{{- else -}}
{{ required "certificates.mode is given: certificates.given.secretName names the Secret with tls.crt and tls.key" .Values.certificates.given.secretName }}
{{- end -}}
{{- end -}}

{{- define "pullgate.priorityClassName" -}}
{{- if .Values.priorityClass.create -}}
{{ default (include "pullgate.clusterName" .) .Values.priorityClass.name }}
{{- else -}}
{{ .Values.priorityClass.name }}
{{- end -}}
{{- end -}}

{{/* The PullgatePolicy object, where the policy is one. */}}
{{- define "pullgate.policyName" -}}
{{- default (include "pullgate.clusterName" .) .Values.policyFrom.name -}}
{{- end -}}

{{/* The policy as a document. */}}
{{- define "pullgate.policyDocument" -}}
apiVersion: pullgate.dev/v1alpha1
kind: PullgatePolicy
metadata:
  name: {{ include "pullgate.name" . }}
spec:
  {{- toYaml .Values.policy | nindent 2 }}
{{- end -}}

{{/* Which namespaces the API server asks about. */}}
{{- define "pullgate.namespaceSelector" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      - kube-system
      - {{ .Release.Namespace }}
{{- range .Values.webhook.excludedNamespaces }}
      - {{ . | quote }}
{{- end }}
{{- with .Values.webhook.namespaceSelectorExpressions }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end -}}

{{/*
Where the API server reaches the webhook (`.endpoint` of `.root`). With aggregation that is the API
server itself, which passes reviews on by the APIService; nothing else is needed. Otherwise path and
CA bundle are not here: Pullgate's leader writes the path with the token, and the CA bundle too unless
cert-manager or these values do. What a manifest does not name, neither Helm nor a GitOps tool takes
away again.
*/}}
{{- define "pullgate.clientConfig" -}}
{{- if and (eq .root.Values.webhook.proof "clientCertificate") (not .root.Values.clientAuthorities.configMapName) -}}
{{- fail "webhook.proof is clientCertificate: clientAuthorities.configMapName names who signs it" -}}
{{- end -}}
{{- if eq .root.Values.webhook.proof "aggregation" -}}
service:
  name: kubernetes
  namespace: default
  port: 443
  path: /apis/admission.pullgate.dev/v1/{{ .endpoint }}
{{- else -}}
service:
  name: {{ include "pullgate.name" .root }}
  namespace: {{ .root.Release.Namespace }}
  port: {{ .root.Values.service.port }}
{{- include "pullgate.caBundle" .root }}
{{- end -}}
{{- end -}}

{{/* The CA bundle, where these values bring it. */}}
{{- define "pullgate.caBundle" -}}
{{- if eq .Values.certificates.mode "given" }}
caBundle: {{ required "certificates.mode is given: certificates.given.caBundle is the PEM that signs it" .Values.certificates.given.caBundle | b64enc }}
{{- end }}
{{- end -}}

{{/* What the API server says by itself: a mirror pod shows what a node has started already. */}}
{{- define "pullgate.noMirrorPods" -}}
- name: no-mirror-pods
  expression: >-
    !has(object.metadata.annotations) ||
    !('kubernetes.io/config.mirror' in object.metadata.annotations)
{{- end -}}

{{- /* The ports that are let out: those of values, and of the registries in the policy, as JSON. */ -}}
{{- define "pullgate.egressPorts" -}}
{{- $ports := list -}}
{{- range concat .Values.networkPolicy.egressPorts .Values.networkPolicy.extraEgressPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- range dig "registries" "inCluster" list .Values.policy -}}
{{- if regexMatch ":[0-9]+$" . -}}
{{- $ports = append $ports (regexFind "[0-9]+$" . | int) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{- /* The namespaces of registries that the policy names as Services, as JSON. */ -}}
{{- define "pullgate.registryNamespaces" -}}
{{- $names := list -}}
{{- range dig "registries" "inCluster" list .Values.policy -}}
{{- $labels := splitList "." (regexReplaceAll ":[0-9]+$" . "") -}}
{{- if and (ge (len $labels) 3) (eq (index $labels 2) "svc") -}}
{{- $names = append $names (index $labels 1) -}}
{{- end -}}
{{- end -}}
{{- $names | uniq | toJson -}}
{{- end -}}
