# Lets a Windows machine use language models through Cordon: trust in its CA, the proxy configuration file
# for browsers, variables for programs, and no HTTP/3 round the proxy.
# Run as administrator, or as a computer start-up script of a group policy. `-Remove` takes it all back.
param([switch]$Remove)
$ErrorActionPreference = 'Stop'

$folder = Join-Path $env:ProgramData 'Cordon'
$root = Join-Path $folder 'root.pem'
$bundle = Join-Path $folder 'bundle.pem'
$internet = 'HKLM:\SOFTWARE\Policies\Microsoft\Windows\CurrentVersion\Internet Settings'
$browsers = 'HKLM:\SOFTWARE\Policies\Google\Chrome', 'HKLM:\SOFTWARE\Policies\Microsoft\Edge'
$variables = @{
    HTTPS_PROXY          = '@PROXY@'
    NO_PROXY             = 'localhost,127.0.0.1,::1'
    SSL_CERT_FILE        = $bundle
    REQUESTS_CA_BUNDLE   = $bundle
    CURL_CA_BUNDLE       = $bundle
    PIP_CERT             = $bundle
    NODE_EXTRA_CA_CERTS  = $root
    NODE_USE_ENV_PROXY   = '1'
    CODEX_CA_CERTIFICATE = $root
}

if ($Remove) {
    $thumbprint = (New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 $root).Thumbprint
    Get-ChildItem Cert:\LocalMachine\Root | Where-Object Thumbprint -eq $thumbprint | Remove-Item
    foreach ($name in $variables.Keys) { [Environment]::SetEnvironmentVariable($name, $null, 'Machine') }
    Remove-ItemProperty $internet AutoConfigURL -ErrorAction SilentlyContinue
    foreach ($browser in $browsers) { Remove-ItemProperty $browser QuicAllowed -ErrorAction SilentlyContinue }
    Remove-NetFirewallRule -Name CordonNoQuic -ErrorAction SilentlyContinue
    Remove-Item $folder -Recurse -ErrorAction SilentlyContinue
    return
}

New-Item $folder -ItemType Directory -Force | Out-Null
$pem = @'
@CA@
'@
Set-Content $root $pem -Encoding ascii
Import-Certificate -FilePath $root -CertStoreLocation Cert:\LocalMachine\Root | Out-Null

# Programs that read a file get the machine's roots and ours in one.
$text = New-Object System.Text.StringBuilder
foreach ($certificate in Get-ChildItem Cert:\LocalMachine\Root) {
    [void]$text.AppendLine('-----BEGIN CERTIFICATE-----')
    [void]$text.AppendLine([Convert]::ToBase64String($certificate.RawData, 'InsertLineBreaks'))
    [void]$text.AppendLine('-----END CERTIFICATE-----')
}
Set-Content $bundle $text.ToString() -Encoding ascii
foreach ($name in $variables.Keys) { [Environment]::SetEnvironmentVariable($name, $variables[$name], 'Machine') }

# Browsers and WinHTTP.
New-Item $internet -Force | Out-Null
Set-ItemProperty $internet AutoConfigURL '@PAC@'
foreach ($browser in $browsers) {
    New-Item $browser -Force | Out-Null
    Set-ItemProperty $browser QuicAllowed 0 -Type DWord
}
# HTTP/3 is UDP to port 443, which no proxy setting covers.
if (-not (Get-NetFirewallRule -Name CordonNoQuic -ErrorAction SilentlyContinue)) {
    New-NetFirewallRule -Name CordonNoQuic -DisplayName 'Cordon: no HTTP/3' -Direction Outbound -Protocol UDP -RemotePort 443 -Action Block | Out-Null
}

# Java keeps roots of its own.
Get-ChildItem "$env:ProgramFiles\Java", "$env:ProgramFiles\Eclipse Adoptium" -Filter keytool.exe -Recurse -ErrorAction SilentlyContinue | ForEach-Object {
    & $_.FullName -importcert -noprompt -cacerts -storepass changeit -alias cordon -file $root
}
