"""Functions that a Terraform expression can call: Terraform's own and AWS's."""

from __future__ import annotations

# Terraform 1.12, https://developer.hashicorp.com/terraform/language/functions
BUILT_IN = """
abs abspath alltrue anytrue base64decode base64encode base64gzip base64sha256
base64sha512 basename bcrypt can ceil chomp chunklist cidrhost cidrnetmask cidrsubnet
cidrsubnets coalesce coalescelist compact concat contains csvdecode dirname distinct
element endswith ephemeralasnull file filebase64 filebase64sha256 filebase64sha512
fileexists filemd5 fileset filesha1 filesha256 filesha512 flatten floor format
formatdate formatlist indent index issensitive join jsondecode jsonencode keys length
log lookup lower matchkeys max md5 merge min nonsensitive one parseint pathexpand
plantimestamp pow range regex regexall replace reverse rsadecrypt sensitive
setintersection setproduct setsubtract setunion sha1 sha256 sha512 signum slice sort
split startswith strcontains strrev substr sum templatefile templatestring
textdecodebase64 textencodebase64 timeadd timecmp timestamp title tobool tolist tomap
tonumber toset tostring transpose trim trimprefix trimspace trimsuffix try upper
urldecode urlencode uuid uuidv5 values yamldecode yamlencode zipmap
"""
# AWS provider since 5.40; Terraform's own provider brings the last three
OF_PROVIDERS = """
provider::aws::arn_build provider::aws::arn_parse provider::aws::trim_iam_role_path
provider::terraform::encode_tfvars provider::terraform::decode_tfvars
provider::terraform::encode_expr
"""
# Terraform 1.8 and later also takes core::upper for upper
FUNCTIONS = frozenset(BUILT_IN.split()) | frozenset(OF_PROVIDERS.split())
